"""Random calls of the compiled engine: valid ones, and ones with wrong sizes, types, strides and tables.

    python -m tests.fuzz.binding ENGINE PROGRESS FIRST LAST

Loads the engine from the file ENGINE, makes the calls of seeds FIRST ... LAST - 1, writes each seed to the file PROGRESS before
its call, and prints how many calls of each kind ran and were refused, as JSON. A refusal is one of REFUSALS;
anything else ends the program. Right calls must run; results of some are compared with the reference's. Memory around what is
written to must stay as it was.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np


def load(path: str) -> Any:
    """The engine in that file, which the package then uses too."""
    spec = importlib.util.spec_from_file_location("dcnn_fast._engine", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["dcnn_fast._engine"] = module
    spec.loader.exec_module(module)
    return module


ENGINE = load(sys.argv[1])

import torch  # noqa: E402 - the package is imported with that engine

from tests.fuzz.blocks import column, column_tables, regions, source_of, whole  # noqa: E402
from tests.fuzz.calls import REFUSALS, SIZES, Call, any_isa, laid_inside, refused, wrong_places  # noqa: E402


def linear(engine: Any, call: Call) -> None:
    isa = any_isa(engine, call)
    bf16 = isa in engine.isas() + engine.emulated_isas() and engine.has_bf16(isa) and bool(call.up_to(0, 1))
    rows, inputs, outputs = call.up_to(0, 70), call.up_to(0, 90), call.up_to(0, 60)
    dtype = np.int16 if bf16 else np.float32
    x, weight, bias = call.array((rows, inputs), dtype), call.array((outputs, inputs), dtype), call.array((outputs,))
    y = call.array((rows, outputs))
    engine.linear(isa, x=x, weight=weight, bias=bias, y=y, relu=False, threads=call.size(call.up_to(1, 3)))
    if call.right and not bf16:
        np.testing.assert_allclose(y, x.astype(np.float64) @ weight.T.astype(np.float64) + bias, rtol=1e-4, atol=1e-3)
    if call.right and x.size >= y.size > 0 and not bf16:
        inside = x.reshape(-1)[: y.size].reshape(y.shape)
        with refused():
            engine.linear(isa, x=x, weight=weight, bias=bias, y=inside, relu=False, threads=1)


def update(engine: Any, call: Call) -> None:
    dtype, step = ((np.float32, np.float32), (np.float64, np.float64), (np.int16, np.float32))[call.up_to(0, 2)]
    shapes = [tuple(int(n) for n in call.rng.integers(0, 9, call.up_to(0, 4))) for _ in range(call.up_to(0, 3))]
    orders = [tuple(int(axis) for axis in call.rng.permutation(len(shape))) for shape in shapes]
    arrays = [
        [call.array(shape, of, order) for shape, order in zip(shapes, orders, strict=True)] for of in (dtype, dtype, step)
    ]
    numbers = [[0.5] * (len(shapes) + (1 if call.spoils() else 0)) for _ in range(3)]
    before = [np.array(each, copy=True) for each in arrays[0]] if call.right and dtype != np.int16 else None
    steps = [np.array(each, copy=True) for each in arrays[2]] if before is not None else []
    engine.update(
        parameters=arrays[0], gradients=arrays[1], increments=arrays[2], rates=numbers[0], momenta=numbers[1], pulls=numbers[2],
        threads=call.size(call.up_to(1, 3)),
    )  # fmt: skip
    for was, weight, gradient, old in zip(before or (), *arrays[:2], steps, strict=True) if before else ():
        np.testing.assert_allclose(weight, was + 0.5 * old - 0.5 * gradient - 0.5 * was, rtol=1e-5, atol=1e-5)
    for i, one in enumerate(arrays[0] if call.right and dtype == step else ()):
        for shared in ([arrays[0], arrays[1], arrays[0]], [arrays[0], arrays[0], arrays[2]]):
            if one.size:
                given = [[of[i]] for of in shared]
                with refused():
                    engine.update(
                        parameters=given[0], gradients=given[1], increments=given[2], rates=[0.5], momenta=[0.5], pulls=[0.5],
                        threads=1,
                    )  # fmt: skip


def plan(engine: Any, call: Call) -> None:
    blocks = np.zeros(call.up_to(1, 3), engine.block_dtype)
    for row in blocks:
        size, pool = call.up_to(1, 5), call.up_to(1, 3)
        fields = {
            "filters": 4, "size": size, "stride": call.up_to(1, size), "padding": call.up_to(0, size - 1), "groups": 1,
            "pool_size": pool, "pool_stride": call.up_to(1, pool), "norm_size": call.up_to(1, 3),
            "norm_first": call.up_to(0, 1), "tile_side": call.up_to(1, 4), "tile_size": size,
        }  # fmt: skip
        for name, value in fields.items():
            row[name] = SIZES[call.up_to(0, len(SIZES) - 2)] if call.spoils() else value
        row["tile_macs"] = float(size * size)
    call.right = False  # the blocks may be too large for the window
    windows = call.rng.integers(0, 40, (call.up_to(0, 12), 2))
    if call.spoils() and windows.size:
        windows.reshape(-1)[call.up_to(0, windows.size - 1)] = SIZES[call.up_to(0, len(SIZES) - 2)]
    engine.plan(
        call.spoilt(blocks) if call.spoils() else blocks, call.size(3), call.size(call.up_to(1, 60)), True,
        call.spoilt(windows) if call.spoils() else windows, (call.size(60), call.size(50)), 9.0, bool(call.up_to(0, 1)),
    )  # fmt: skip


def mbconv(engine: Any, call: Call) -> None:
    """An inverted residual block: valid calls give the same results for two orders of the images."""
    isa = any_isa(engine, call)
    size = call.up_to(1, 5)
    channels, filters = call.up_to(1, 40), call.up_to(1, 40)
    expands, stride = bool(call.up_to(0, 1)), call.up_to(1, size)
    expanded = call.up_to(1, 60) if expands else channels
    residual = stride == 1 and channels == filters and bool(call.up_to(0, 1))
    weights = engine.PackedMbConv(
        isa, channels=call.size(channels), expanded=call.size(expanded), filters=call.size(filters), size=call.size(size),
        stride=call.size(stride), residual=residual ^ call.spoils(), bf16=bool(call.up_to(0, 1)),
        expand=(call.array((expanded, channels)), call.array((expanded,))) if expands ^ call.spoils() else None,
        depthwise=(call.array((expanded, size, size)), call.array((expanded,))),
        project=(call.array((filters, expanded)), call.array((filters,))),
    )  # fmt: skip
    images, rows, cols = call.up_to(0, 3), call.up_to(1, 30), call.up_to(1, 30)
    x = call.last((images, channels, rows, cols))
    out = call.last((images, filters, -(-rows // stride), -(-cols // stride)))
    engine.mbconv(weights, x=x, out=out, threads=call.size(call.up_to(1, 5)))
    if not call.right or not images:
        return
    turned = np.ascontiguousarray(x.transpose(0, 2, 3, 1)[::-1]).transpose(0, 3, 1, 2)
    again = np.empty_like(out)
    engine.mbconv(weights, x=turned, out=again, threads=1)
    assert np.array_equal(again[::-1], out)
    for wrong in (x[:, :-1], x[:, :, 0], x.astype(np.float64)):  # with other extents the result may have the same size
        with refused():
            engine.mbconv(weights, x=wrong, out=out, threads=1)
    for wrong in (*wrong_places(out), laid_inside(x, out)):
        if wrong is not None:
            with refused():
                engine.mbconv(weights, x=x, out=wrong, threads=1)


def backbone(engine: Any, call: Call) -> None:
    """A stem, a block or two, and a head: in valid calls an image alone has the same features."""
    isa = any_isa(engine, call)
    size, channels, filters, outputs = call.up_to(1, 5), call.up_to(1, 4), call.up_to(1, 20), call.up_to(1, 40)
    bf16 = bool(call.up_to(0, 1))
    blocks = []
    for _ in range(call.up_to(1, 2)):
        expanded = call.up_to(1, 50)
        blocks.append(
            engine.PackedMbConv(
                isa, channels=filters, expanded=expanded, filters=filters, size=3, stride=1, residual=True,
                bf16=bf16 ^ call.spoils(), expand=(call.array((expanded, filters)), call.array((expanded,))),
                depthwise=(call.array((expanded, 3, 3)), call.array((expanded,))),
                project=(call.array((filters, expanded)), call.array((filters,))),
            )
        )  # fmt: skip
    net = engine.Backbone(
        isa, stem=(call.array((filters, channels, size, size)), call.array((filters,))), stride=call.size(call.up_to(1, size)),
        mean=[1.0] * (channels + call.spoils()), scale=0.5, blocks=[*blocks, None] if call.spoils() else blocks,
        head=(call.array((outputs, filters)), call.array((outputs,))), taps=[call.size(0)], bf16=bf16,
    )  # fmt: skip
    shape = call.up_to(0, 3), channels, call.up_to(1, 20), call.up_to(1, 20)
    x = source_of(call, shape, (np.float32, np.uint8)[call.up_to(0, 1)])
    found = net.features(x, threads=call.size(call.up_to(1, 4)))
    if not call.right:
        return
    assert found.shape == (len(x), filters + outputs)
    for i in range(len(x)):
        assert np.array_equal(net.features(x[i : i + 1], threads=1)[0], found[i], equal_nan=True)
    with refused():
        net.features(x[:, :-1], threads=1)


def views(engine: Any, call: Call) -> None:
    """Cuts of photographs, filters and offsets: in valid calls, cuts are parts of the whole."""

    def extent(value: int) -> Any:  # no extent that fits in memory and takes long to fill
        return (-(2**63), -1, 0, 2**40, 2**63 - 1, 2**64, None, 1.5)[call.up_to(0, 7)] if call.spoils() else value

    isa, rows, cols = any_isa(engine, call), call.up_to(1, 12), call.up_to(1, 12)
    pixels = call.array((rows, cols, 3), np.uint8)
    height, width = call.up_to(1, 20), call.up_to(1, 20)
    tall, wide = call.up_to(1, 9), call.up_to(1, 9)
    resized, corner = (call.size(height), call.size(width)), (call.size(call.up_to(-5, 9)), call.size(call.up_to(-5, 9)))
    made = engine.cut_picture(isa, pixels, resized, corner, (extent(tall), extent(wide)))
    engine.bilinear_filter(call.size(rows), call.size(height), call.size(0), call.size(height))
    limits = (call.size(call.up_to(0, 50)), call.size(call.up_to(0, 50))), (call.size(call.up_to(0, 50)), call.size(0))
    found = engine.window_offsets((call.up_to(0, 9), 2), extent(call.up_to(1, 9)), *limits, call.size(call.up_to(1, 4)))
    if not call.right:
        return
    assert (found >= 0).all() and (found.max(0) <= [limits[0][0] + limits[1][0], limits[0][1]]).all()
    whole = np.zeros((height + 40, width + 40, 3), np.uint8)
    whole[20 : 20 + height, 20 : 20 + width] = engine.cut_picture(isa, pixels, (height, width), (0, 0), (height, width))
    top, left = 20 + corner[0], 20 + corner[1]
    assert np.array_equal(made, whole[top : top + tall, left : left + wide])


def summary(engine: Any, call: Call) -> None:
    """A photograph's digest and reduced picture: in valid calls, equal to those of its pixels turned by numpy."""
    fast = [isa for isa in engine.isas() if isa != "portable"] if engine.features()["sha_ni"] else []
    if not fast:
        call.right = False
    isa = call.word([*fast, "portable"][0])
    height, width, turn, head = call.up_to(1, 70), call.up_to(1, 70), call.up_to(1, 8), bytes(call.up_to(0, 70))
    pixels = call.array((height, width, 3), np.uint8)
    rows, cols = (height, width) if turn < 5 else (width, height)
    resized = None if call.rng.random() < 0.2 else (call.size(call.up_to(1, rows)), call.size(call.up_to(1, cols)))
    if call.rng.random() < 0.2:
        turn, call.right = call.up_to(-3, 13), False
    digest, made = engine.summarized(isa, pixels, call.size(turn), head, resized)
    if not call.right:
        return
    upright = engine.turned("portable", pixels, turn)
    assert digest == hashlib.sha256(head + upright.tobytes()).digest()
    if resized is not None and made is not None:
        assert np.array_equal(made, engine.cut_picture("portable", upright, resized, (0, 0), resized))


def small(engine: Any, call: Call) -> None:
    """Calls with few numbers."""
    isa = any_isa(engine, call)
    engine.output_tile(
        isa, size=call.size(5), stride=call.size(1), channels=call.size(64), filters=call.size(64), precision=call.word("ieee")
    )
    engine.peak(isa, 1000 if call.right else SIZES[call.up_to(0, 4)])
    engine.has_bf16(isa)
    engine.has_tiles(isa)


def tile_product(engine: Any, call: Call) -> None:
    if not engine.emulated_isas():
        return
    config = call.array((64,), np.uint8)
    call.right = False  # most configurations fault
    a, b = call.array((16, 32), np.uint16), call.array((16, 32), np.uint16)
    with contextlib.suppress(RuntimeError):  # where a processor would fault
        engine.emulated_tile_product(config, a, b, call.array((16, 16)))


KINDS: tuple[Callable[[Any, Call], None], ...] = (
    regions,
    regions,
    whole,
    linear,
    update,
    plan,
    views,
    summary,
    small,
    tile_product,
    column_tables,
    column,
    mbconv,
    backbone,
)


def run(engine: Any, seed: int) -> tuple[str, bool]:
    """The kind of the call, and whether it ran (True) or was refused (False)."""
    rng = np.random.default_rng(seed)
    make = KINDS[seed % len(KINDS)]
    call = Call(rng, wrongness=float(rng.choice([0.0, 0.02, 0.1])))
    try:
        make(engine, call)
    except REFUSALS as refusal:
        assert not call.right, f"a right call was refused: {refusal}"
        assert call.untouched(), "memory around an array was written to"
        return make.__name__, False
    assert call.untouched(), "memory around an array was written to"
    return make.__name__, True


def main() -> None:
    progress, first, last = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(1)
    counts = Counter[str]()
    with open(progress, "w") as file:
        for seed in range(first, last):
            os.pwrite(file.fileno(), f"{seed:12}\n".encode(), 0)
            kind, ran = run(ENGINE, seed)
            counts[f"{kind} {'ran' if ran else 'refused'}"] += 1
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
