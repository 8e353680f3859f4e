"""The software tile unit of the instruction set amx_emulated, against the manual's statement of TDPBF16PS in numpy."""

from __future__ import annotations

import numpy as np
import pytest

from dcnn_fast import engine

pytestmark = [
    pytest.mark.needs_engine,
    pytest.mark.needs_emulated_tiles,
    pytest.mark.parametrize("isa", engine.emulated_isas()),
]


def _config(shapes, palette=1):
    """The 64 bytes of LDTILECFG; shapes: (rows, bytes of a row) of tiles C, A, B."""
    config = np.zeros(64, np.uint8)
    config[0] = palette
    for tile, (rows, row_bytes) in enumerate(shapes):
        config[16 + 2 * tile : 18 + 2 * tile] = np.array([row_bytes], "<u2").view(np.uint8)
        config[48 + tile] = rows
    return config


def _product(config, a, b, c):
    """C + A * B of uint16, uint16 and float32 arrays with rows of 64 bytes."""
    result = c.copy()
    engine.native.emulated_tile_product(config, a, b, result)
    return result


def _no_denormals(values):
    return np.where(np.abs(values) < np.float32(2.0**-126), np.copysign(np.float32(0), values), values).astype(np.float32)


def _stated(a, b, c, rows, cols, pairs):
    """The manual's result: even and odd products are summed apart by fused multiply-adds, denormals are zeros; added to C."""
    x, w = (_no_denormals((v.astype(np.uint32) << 16).view(np.float32)) for v in (a, b))
    result = c.copy()
    for m in range(rows):
        sums = np.zeros((2, cols), np.float32)
        for k in range(pairs):
            for half in (0, 1):
                # The product and nearly every sum are exact in float64: one rounding, as in a fused multiply-add.
                exact = np.float64(x[m, 2 * k + half]) * w[k, half : 2 * cols : 2].astype(np.float64) + sums[half]
                sums[half] = _no_denormals(exact.astype(np.float32))
        result[m, :cols] = _no_denormals(c[m, :cols] + _no_denormals(sums[0] + sums[1]))
    return result


def _operands(seed, spread=8.0):
    generator = np.random.default_rng(seed)

    def bf16(shape):
        values = generator.standard_normal(shape) * 2.0 ** generator.uniform(-spread, spread, shape)
        return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)

    return bf16((16, 32)), bf16((16, 32)), generator.standard_normal((16, 16)).astype(np.float32)


@pytest.mark.parametrize("shape", [(16, 16, 16), (1, 1, 1), (5, 3, 7), (16, 2, 9)], ids=str)
def test_products_are_the_manuals(isa, shape):
    rows, cols, pairs = shape
    config = _config([(rows, 4 * cols), (rows, 4 * pairs), (pairs, 4 * cols)])
    for seed in range(5):
        a, b, c = _operands(seed)
        result = _product(config, a, b, c)
        np.testing.assert_array_equal(result, _stated(a, b, c, rows, cols, pairs))


def test_denormals_are_zeros(isa):
    config = _config([(16, 64), (16, 64), (16, 64)])
    a, b, c = np.zeros((16, 32), np.uint16), np.zeros((16, 32), np.uint16), np.zeros((16, 16), np.float32)
    a[0, 0], b[0, 0] = 0x0040, 0x7F00  # a denormal times a large number
    a[1, 1], b[0, 1] = 0x2000, 0x1F00  # a product below the smallest normal number
    c[2, 0] = 2.0**-140
    assert not _product(config, a, b, c).any()


@pytest.mark.parametrize(
    ("shapes", "palette", "message"),
    [
        ([(16, 64)] * 3, 0, "only palette 1"),
        ([(17, 64), (16, 64), (16, 64)], 1, "too many rows"),
        ([(16, 68), (16, 64), (16, 64)], 1, "rows too long"),
        ([(16, 0), (16, 64), (16, 64)], 1, "rows without bytes"),
        ([(16, 64)] * 2, 1, "this tile is not configured"),
        ([(16, 64)] * 9, 1, "no such tile"),
        ([(16, 62), (16, 64), (16, 62)], 1, "whole pairs"),
        ([(15, 64), (16, 64), (16, 64)], 1, "shapes do not match"),
        ([(16, 60), (16, 64), (16, 64)], 1, "shapes do not match"),
        ([(16, 64), (16, 60), (16, 64)], 1, "shapes do not match"),
    ],
)
def test_what_a_processor_faults_on_is_an_error(isa, shapes, palette, message):
    with pytest.raises(RuntimeError, match=message):
        _product(_config(shapes, palette), *_operands(0))


def test_it_is_never_chosen_by_itself(isa, monkeypatch):
    monkeypatch.delenv(engine.ISA_VARIABLE, raising=False)
    assert isa not in engine.isas()
    assert engine.isa() != isa
