"""A kernel of two warpgroups for sm_90a, compiled by nvcc (data/hopper.cu), compared with numpy, and with lines removed."""

import re
from pathlib import Path

import numpy as np
import pytest

from ptxsim import SimulationError, launch

PTX = (Path(__file__).parent / "data" / "hopper.sm_90a.ptx").read_text()
TILE, THREADS, SHARED = 64, 256, 3 * 2 * 8192 + 4 * 64 * 64 + 2 * 3 * 8


def tiled(x):
    """(rows, k) as tiles of 64 by 64, each as it lies in shared memory: chunks of eight swizzled with their row."""
    rows, k = x.shape
    tiles = x.reshape(rows // TILE, TILE, k // TILE, TILE).transpose(0, 2, 1, 3).reshape(-1, TILE, 8, 8)
    row, chunk = np.arange(TILE)[:, None], np.arange(8)[None]
    return np.ascontiguousarray(tiles[:, row, chunk ^ row % 8]).astype(np.float16)


def operands(m=128, n=192, k=320):
    rng = np.random.default_rng(7)
    return rng.integers(-4, 5, (m, k)), rng.integers(-4, 5, (n, k))


def simulated(ptx, **options):
    a, b = operands()
    c = np.full((len(a), len(b)), np.nan, dtype=np.float32)
    grid = (len(b) // TILE, len(a) // TILE)
    arguments = [tiled(a), tiled(b), c, len(b), a.shape[1] // TILE]
    report = launch(ptx, "product", grid, THREADS, arguments, shared=SHARED, uninitialised=[c], **options)
    return report, c, a @ b.T


def test_a_product_by_two_warpgroups():
    report, found, expected = simulated(PTX)
    np.testing.assert_array_equal(found, expected)
    assert report.mma_multiply_adds == expected.size * operands()[0].shape[1]
    assert report.copy_bytes == 6 * (5 * 2 * 8192 + 4 * TILE * TILE)
    assert report.global_load_bytes == 6 * 5 * 2 * 8192 and report.global_store_bytes == found.nbytes


def changed(pattern, to, count=1):
    ptx, found = re.subn(pattern, to, PTX)
    assert found == count, found
    return ptx


@pytest.mark.parametrize(
    ("pattern", "to", "count", "kind"),
    [
        (r"wgmma\.wait_group\.sync\.aligned 0;", "", 1, "wgmma register touched before wait"),
        (r"wgmma\.wait_group\.sync\.aligned 1;", "", 1, "asynchronous operand overwritten"),
        (r"wgmma\.fence\.sync\.aligned;", "", 1, "missing wgmma.fence"),
        (r"fence\.proxy\.async\.shared::cta;", "", 1, "missing proxy fence"),
        (r"fence\.mbarrier_init\.release\.cluster;", "", 1, "missing proxy fence"),
        (r"bar\.sync 1, 128;", "", 1, "shared memory race"),
        (r"bar\.sync \t0;", "", 1, "shared memory race"),
        (r"cp\.async\.bulk\.wait_group\.read 0;", "", 1, "bulk copy not waited for"),
        (r", 1, 1, 1, 0, 0;", ", 1, 1, 1, 0, 1;", 4, None),  # another layout: the result is wrong, but no rule is broken
    ],
)
def test_a_line_that_is_taken_out(pattern, to, count, kind):
    ptx = changed(pattern, to, count)
    if kind is None:
        assert not np.array_equal(*simulated(ptx)[1:])
        return
    with pytest.raises(SimulationError) as error:
        simulated(ptx)
    assert error.value.findings[0].kind == kind, error.value.findings[0]
    assert "hopper.cu:" in error.value.findings[0].source


def test_fewer_bytes_than_are_expected():
    ptx = changed(r"(mov\.u32 \t%r\d+, )16384;", r"\g<1>24576;")
    with pytest.raises(SimulationError, match="mbarrier never complete") as error:
        simulated(ptx)
    assert "8192 bytes are missing" in error.value.findings[0].message
