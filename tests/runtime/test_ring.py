"""Buffers of photographs: used again, never while anyone holds one."""

from __future__ import annotations

import gc

import numpy as np

from dcnn_fast.runtime.ring import Ring


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def test_a_photograph_is_copied_once_and_its_buffer_used_again():
    ring, first = Ring(pinned=False), picture(40, 30)
    held = ring.held(first)
    assert np.array_equal(held, first) and held is not first and held.flags.c_contiguous
    assert ring.held(held) is held
    address = held.ctypes.data
    del held
    again = ring.held(picture(20, 90, seed=1))
    assert again.ctypes.data == address and np.array_equal(again, picture(20, 90, seed=1))
    assert ring.idle == 0


def test_a_buffer_stays_while_a_view_of_it_does():
    ring = Ring(pinned=False)
    part = ring.held(picture(40, 30))[3:9, 4:]
    other = ring.held(picture(40, 30, seed=1))
    assert np.array_equal(part, picture(40, 30)[3:9, 4:]) and np.array_equal(other, picture(40, 30, seed=1))
    del part
    gc.collect()
    assert ring.idle == 1


def test_a_view_of_a_held_photograph_that_is_not_dense_is_copied():
    ring = Ring(pinned=False)
    held = ring.held(picture(40, 30))
    turned = ring.held(held[:, ::-1])
    assert turned.flags.c_contiguous and np.array_equal(turned, picture(40, 30)[:, ::-1])


def test_few_idle_buffers_are_kept():
    ring = Ring(pinned=False)
    held = [ring.held(np.zeros((2**13, 2**13, 3), np.uint8)) for _ in range(4)]
    del held
    gc.collect()
    assert ring.idle == 2
