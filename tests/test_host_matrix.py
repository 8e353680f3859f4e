"""What a program does has the same bits whatever it has set, on whatever thread and in whatever process it is done."""

from __future__ import annotations

import multiprocessing
import threading

import pytest

from tests.host_settings import SETTINGS
from tests.program import done_somewhere, keep_model, kept_model, use_model

# A child of a fork has its parent's settings; those of other processes are made there.
PROCESSES = ("spawn", "forkserver")
# Training has the same bits with the same number of threads (docs/training.md): on some machines torch splits the sums of its
# products by them.
OTHER_THREADS = ("one thread", "five threads")


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What is done where nothing was set."""
    keep_model(tmp_path_factory.mktemp("model"))
    return done_somewhere()


def differing(found, expected):
    """The names of what was done with another end than expected; what was not done is none."""
    return sorted(name for name in found if expected.get(name) != found[name])


def send(connection):
    """What is done in a child of a fork, through a pipe."""
    connection.send(done_somewhere(trains=False))
    connection.close()


def send_all(connection, names, model):
    """What is done here with that model under each of the settings, and under none."""
    use_model(model)  # a fork server that was already there has the environment of its own start
    found = {"none": done_somewhere()}
    for name in names:
        with SETTINGS[name]():
            found[name] = done_somewhere(trains=False)
    connection.send(found)
    connection.close()


def received(method, target, *arguments):
    """What a process that was started by that method sends."""
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
    """The test itself, by a wrong digest and one of something unknown."""
    assert differing({**expected, "block": "x", "more": "y"}, expected) == ["block", "more"]
