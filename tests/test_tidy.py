"""Memory that earlier tests left returns to the system once the process has grown by a set amount, and not before."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from tests import tidy


class Left:
    """Refers to itself, so that only the garbage collector frees it."""

    def __init__(self):
        self.me, self.data = self, np.ones(2**23)


@pytest.mark.parametrize("room", [2**24, 2**40])
def test_a_cycle_goes_once_it_is_large(monkeypatch, room):
    monkeypatch.setattr(tidy, "ROOM", room)
    gc.disable()
    try:
        plugin = tidy.Tidy()
        left = weakref.ref(Left())
        assert left() is not None
        plugin.pytest_runtest_logfinish()
        assert (left() is None) == (room < 2**26)
    finally:
        gc.enable()
