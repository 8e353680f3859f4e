"""A property that is computed once per instance and kept, without a lock that a fork could find taken."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass

from dcnn_fast.ops.computed_once import computed_once

computing, go_on = threading.Event(), threading.Event()


@dataclass(frozen=True)
class Number:
    n: int

    @computed_once
    def square(self) -> int:
        """The number's square."""
        if self.n == 0:
            computing.set()
            go_on.wait()
        return self.n**2


def test_a_value_is_kept_and_the_instances_own():
    three, four = Number(3), Number(4)
    assert (three.square, four.square, three.square) == (9, 16, 9)
    assert vars(three) == {"n": 3, "square": 9}


def test_a_child_forked_while_a_value_is_computed_computes_another():
    thread = threading.Thread(target=lambda: Number(0).square)
    thread.start()
    computing.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # ends a child that waits forever
        os._exit(Number(5).square)
    go_on.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 25
