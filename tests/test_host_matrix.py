"""A program's results have the same bits whatever its settings, and on any thread and in any process."""

from __future__ import annotations

import multiprocessing
import threading

import pytest

from tests.host_settings import SETTINGS
from tests.program import done_somewhere, keep_model, kept_model, use_model

# A forked child inherits its parent's settings; other processes make their own.
PROCESSES = ("spawn", "forkserver")
# Training has the same bits for the same number of threads (docs/training.md): on some machines torch splits the sums of its
# products by them.
OTHER_THREADS = ("one thread", "five threads")


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The results without any settings."""
    keep_model(tmp_path_factory.mktemp("model"))
    return done_somewhere()


def differing(found, expected):
    """The names of results that differ from the expected ones; omitted results do not count."""
    return sorted(name for name in found if expected.get(name) != found[name])


def send(connection):
    """Send the results of a forked child through a pipe."""
    connection.send(done_somewhere(trains=False))
    connection.close()


def send_all(connection, names, model):
    """Send the results with that model under each of the settings, and under none."""
    use_model(model)  # a fork server that already ran has the environment of its own start
    found = {"none": done_somewhere()}
    for name in names:
        with SETTINGS[name]():
            found[name] = done_somewhere(trains=False)
    connection.send(found)
    connection.close()


def received(method, target, *arguments):
    """The results sent by a process that was started by that method."""
    context = multiprocessing.get_context(method)
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(sending, *arguments))
    process.start()
    sending.close()
    try:
        assert receiving.poll(300), "the process must answer"
        return receiving.recv()
    finally:
        process.join(30)
        process.kill()


@pytest.mark.parametrize("setting", SETTINGS)
def test_here_on_another_thread_and_on_both_sides_of_a_fork(setting, expected):
    trains = setting not in OTHER_THREADS
    with SETTINGS[setting]():
        here = done_somewhere(trains=trains)
        elsewhere = []
        thread = threading.Thread(target=lambda: elsewhere.append(done_somewhere(trains=False)))
        thread.start()
        thread.join()
        child = received("fork", send)
        again = done_somewhere(trains=False)
    found = {"here": here, "another thread": elsewhere[0], "a child of a fork": child, "here after a fork": again}
    assert here.keys() == expected.keys() - (set() if trains else {"training"})
    assert {place: names for place, each in found.items() if (names := differing(each, expected))} == {}


@pytest.mark.parametrize("method", PROCESSES)
def test_in_a_process_of_its_own(method, expected):
    found = received(method, send_all, list(SETTINGS), kept_model())
    assert found.keys() == {"none", *SETTINGS}
    assert {setting: names for setting, each in found.items() if (names := differing(each, expected))} == {}


def test_what_differs_is_named(expected):
    """Checks `differing` itself, with a wrong digest and an unknown name."""
    assert differing({**expected, "block": "x", "more": "y"}, expected) == ["block", "more"]
