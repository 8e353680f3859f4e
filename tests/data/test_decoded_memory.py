"""The memory of decoded photographs: reused once nobody holds it, never earlier, and never more than its share."""

import gc
import io
import os
import resource
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from dcnn_fast.data import decoded_memory, in_flight, read, upright

SIDE = 1250  # for a photograph that is large enough
SHAPE = (SIDE, SIDE, 3)


@pytest.fixture(autouse=True)
def _none_waits():
    decoded_memory.let_go()
    yield
    in_flight.set_limit(None)
    decoded_memory.let_go()


def pixels_of(seed, side=SIDE):
    """A picture that compresses well as JPEG and differs from that of any other seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side - seed)))


def jpeg(seed, orientation=1):
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(pixels_of(seed)).save(buffer, "JPEG", quality=85, exif=exif)
    return buffer.getvalue()


def by_pillow(data, orientation=1):
    return upright.by_numpy(np.asarray(Image.open(io.BytesIO(data))), orientation)


def place(array):
    return array.__array_interface__["data"][0]


HOLDS = {
    "part": lambda a: a[5:, ::2], "numbers": lambda a: a.reshape(-1)[: SIDE * 4].view("u4"), "memoryview": memoryview,
    "tensor": torch.from_numpy, "dlpack": lambda a: torch.from_dlpack(a)[3:], "ctypes": np.ctypeslib.as_ctypes,
    "pillow": lambda a: Image.frombuffer("L", (3 * SIDE, SIDE), a, "raw", "L", 0, 1),
}  # fmt: skip


@pytest.mark.parametrize("hold", HOLDS.values(), ids=HOLDS)
def test_memory_is_used_again_once_nothing_looks_at_it(hold):
    array = decoded_memory.array(SHAPE)
    assert array.shape == SHAPE and array.dtype == np.uint8 and array.flags.c_contiguous and array.flags.writeable
    array[:] = 7
    first, held = place(array), hold(array)
    del array
    other = decoded_memory.array(SHAPE)
    other[:] = 8
    assert place(other) != first and np.asarray(held).view(np.uint8).ravel()[0] == 7
    del held
    again = decoded_memory.array(SHAPE)
    assert place(again) == first


@pytest.mark.parametrize(
    ("rows", "same"), [(SIDE, True), (SIDE * 9 // 10, True), (SIDE * 2 // 3, False), (SIDE * 5 // 4, False)]
)
def test_photographs_of_nearly_one_size_take_each_others_places(rows, same):
    first = place(decoded_memory.array(SHAPE))
    assert decoded_memory.waiting() >= 3 * SIDE**2
    waiting = decoded_memory.waiting()
    array = decoded_memory.array((rows, SIDE, 3))
    assert array.shape == (rows, SIDE, 3)
    assert (place(array) == first) == same and (decoded_memory.waiting() == waiting) == (not same)


def test_what_waits_has_its_share_and_the_oldest_goes():
    in_flight.set_limit(decoded_memory.SHARE * 3 * 3 * SIDE**2)
    arrays = [decoded_memory.array(SHAPE) for _ in range(5)]
    last = place(arrays[-1])
    while arrays:
        arrays.pop(0)
    assert 0 < decoded_memory.waiting() <= 9 * SIDE**2
    assert last in {place(array) for array in [decoded_memory.array(SHAPE) for _ in range(2)]}


def test_a_photograph_larger_than_the_share_does_not_wait_and_lets_the_others_do_so():
    in_flight.set_limit(decoded_memory.SHARE * 5 * SIDE**2)
    first = place(decoded_memory.array(SHAPE))
    decoded_memory.array((2 * SIDE, SIDE, 3))
    assert 0 < decoded_memory.waiting() < 5 * SIDE**2
    assert place(decoded_memory.array(SHAPE)) == first


@pytest.mark.parametrize("kind", [resource.RLIMIT_AS, resource.RLIMIT_DATA], ids=["ulimit -v", "ulimit -d"])
def test_with_a_limit_of_the_process_none_is_kept(kind):
    """Other allocations find all the memory that the limit leaves."""
    kept, before = decoded_memory.array(SHAPE), decoded_memory.array(SHAPE)
    del before
    assert decoded_memory.waiting() > 0
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (2**46 if hard == resource.RLIM_INFINITY else hard, hard))
    try:
        photo = read(jpeg(1))
        assert decoded_memory.waiting() == 0
        del kept, photo
        assert decoded_memory.waiting() == 0
    finally:
        resource.setrlimit(kind, (soft, hard))


class Cycle:
    """An object that only the garbage collector frees."""

    def __init__(self, array):
        self.array, self.itself = array, self


def test_what_garbage_reads_as_it_is_collected_is_its_own():
    found = []

    class Reader(Cycle):
        def __del__(self):
            other = decoded_memory.array(SHAPE)
            other[:] = 8
            found.append(self.array[3, 4, 2])

    array = decoded_memory.array(SHAPE)
    array[:] = 7
    Reader(array)
    del array
    gc.collect()
    assert found == [7]


def test_memory_that_comes_back_while_what_waits_is_counted():
    """The garbage collector runs when an object is created, hence also during the count, as it did in Python before 3.12."""
    in_flight.set_limit(2**40)
    arrays = [decoded_memory.array(SHAPE) for _ in range(25)]  # more than the length of tuples that Python keeps for reuse
    arrays.clear()
    before, thresholds = decoded_memory.waiting(), gc.get_threshold()
    for threshold in range(1, 60):
        gc.collect()
        gc.set_threshold(10**6)
        Cycle(decoded_memory.array(SHAPE))
        gc.set_threshold(threshold)
        try:
            counts = [decoded_memory.waiting() for _ in range(5)]
        finally:
            gc.set_threshold(*thresholds)
        gc.collect()
        assert set(counts) <= {before * 24 // 25, before}
        assert decoded_memory.waiting() == before


def test_small_ones_are_the_allocators():
    decoded_memory.array((10, 10, 3))
    assert decoded_memory.array((0, 10, 3)).size == decoded_memory.waiting() == 0


def test_with_a_limit_that_was_set_none_is_kept():
    kept, before = decoded_memory.array(SHAPE), decoded_memory.array(SHAPE)
    del before
    in_flight.set_limit(2**30, "--max-memory 2G")
    photo = read(jpeg(1))
    assert decoded_memory.waiting() == 0
    del kept, photo
    assert decoded_memory.waiting() == 0


def test_memory_that_cannot_be_had_is_a_memory_error():
    decoded_memory.array(SHAPE)
    with pytest.raises((MemoryError, ValueError)):
        decoded_memory.array((2**21, 2**21, 3))
    assert decoded_memory.waiting() == 0


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_photograph_that_is_held_stays_as_it_is(orientation):
    files = [jpeg(seed, orientation) for seed in range(3)]
    held = read(files[0])
    whole = held.pixels
    for data in files[1:]:
        photo = read(data)
        assert photo.summary(200)[0] == photo.digest
        np.testing.assert_array_equal(photo.pixels, by_pillow(data, orientation))
    np.testing.assert_array_equal(whole, by_pillow(files[0], orientation))
    assert held.digest == read(by_pillow(files[0], orientation)).digest


def test_threads_read_into_memory_of_their_own():
    files = [jpeg(seed, orientation) for seed, orientation in ((1, 1), (2, 6), (3, 8), (4, 1))]
    expected = [read(data).summary(200) for data in files]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda data: read(data).summary(200), files * 3))
    for i, (digest, reduced) in enumerate(found):
        assert digest == expected[i % 4][0]
        np.testing.assert_array_equal(reduced, expected[i % 4][1])


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_file_that_ends_in_the_middle_has_nothing_of_the_photograph_before_it(share):
    """It is read, or refused, exactly as with memory that was never used."""
    data = jpeg(1)
    broken = data[: int(len(data) * share)]

    def outcome():
        try:
            return read(broken).digest
        except ValueError as error:
            return str(error)

    fresh = outcome()
    for seed in (2, 1):
        read(jpeg(seed))
        assert decoded_memory.waiting() > 0
        assert outcome() == fresh


def test_a_child_has_its_own():
    held, data = read(jpeg(1)), jpeg(2)
    before = held.digest
    read(data)
    child = os.fork()
    if not child:
        same = False
        try:
            same = read(data).digest == read(by_pillow(data)).digest and held.digest == before
        finally:  # never return into the tests
            os._exit(0 if same else 1)
    read(jpeg(3))
    assert os.waitpid(child, 0)[1] == 0
    assert held.digest == before
