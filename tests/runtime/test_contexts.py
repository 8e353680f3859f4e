"""Contexts are borrowed by one thread at a time, at most so many, and survive what goes wrong within."""

from __future__ import annotations

import multiprocessing
import threading

import pytest

from dcnn_fast.runtime.contexts import Contexts


def test_at_most_so_many_are_made_and_each_is_one_threads():
    made, used, together = [], set(), threading.Barrier(2)
    contexts = Contexts(lambda: made.append(len(made)) or made[-1], 2)

    def work(meet):
        with contexts.borrowed() as mine:
            assert mine not in used
            used.add(mine)
            if meet:
                together.wait(30)
            used.remove(mine)

    threads = [threading.Thread(target=work, args=(i < 2,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert made == [0, 1]


def test_who_finds_all_in_use_waits_for_one():
    contexts, found, has_one = Contexts(object, 2), [], threading.Event()

    def work():
        with contexts.borrowed() as mine:
            found.append(mine)
            has_one.set()

    with contexts.borrowed() as first:
        with contexts.borrowed() as second:
            thread = threading.Thread(target=work)
            thread.start()
            assert not has_one.wait(0.2)
        assert has_one.wait(30) and found == [second] != [first]
    thread.join(30)


def test_the_one_used_last_comes_first_and_errors_give_it_back():
    contexts = Contexts(object, 2)
    with contexts.borrowed() as first, contexts.borrowed() as second:
        assert first is not second
    with pytest.raises(ZeroDivisionError), contexts.borrowed():
        raise ZeroDivisionError
    with contexts.borrowed() as again:
        assert again is first


def test_one_that_cannot_be_made_leaves_room_for_another():
    answers = iter([MemoryError("no room"), "made"])

    def make():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    contexts = Contexts(make, 1)
    with pytest.raises(MemoryError), contexts.borrowed():
        pass
    with contexts.borrowed() as found:
        assert found == "made"


def _borrowed(contexts, queue):
    with contexts.borrowed() as found:
        queue.put(found)


def test_a_child_made_by_a_fork_waits_for_no_thread_of_its_parent():
    contexts, fork = Contexts(lambda: "made", 1), multiprocessing.get_context("fork")
    queue = fork.Queue()
    with contexts.borrowed():  # by this process, which the child cannot give it back for
        child = fork.Process(target=_borrowed, args=(contexts, queue))
        child.start()
        assert queue.get(timeout=60) == "made"
        child.join(60)
    assert child.exitcode == 0
