"""Buffers of photographs: reused, but never while anyone holds them."""

from __future__ import annotations

import gc
import threading

import numpy as np

from dcnn_fast.runtime.ring import Ring, held_bytes


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


def test_idle_buffers_of_all_sizes_together_are_bounded():
    ring = Ring(pinned=False, idle=2**20)
    held = [ring.held(picture(height, 400)) for height in (100, 200, 300, 400, 500, 600) for _ in range(3)]
    assert ring.idle == 0
    while held:
        del held[-1]
        assert ring.idle_bytes <= 2**20
    assert (ring.idle, ring.idle_bytes) == (5, 3 * 2**17 + 2 * 2**18)  # the larger ones were freed
    huge = ring.held(np.zeros((1024, 1024, 3), np.uint8))
    del huge
    assert ring.idle_bytes <= 2**20


def test_an_array_keeps_all_of_its_buffer():
    held = Ring(pinned=False).held(picture(200, 300))
    assert held.nbytes == 180_000 and held_bytes(held) == 2**18 and held_bytes(held[3:9]) == 2**18
    plain = picture(3, 5)
    assert held_bytes(plain) == plain.nbytes == 45


def test_many_threads_give_back_and_take_at_a_time():
    ring, failures = Ring(pinned=False, idle=2**18), []

    def work(seed):
        for i in range(200):
            mine = picture(20 + 40 * (i % 5), 100, seed=seed)
            held = ring.held(mine)
            if not np.array_equal(held, mine):
                failures.append((seed, i))
            del held

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and ring.idle_bytes <= 2**18
