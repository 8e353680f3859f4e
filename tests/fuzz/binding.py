"""Random calls of the compiled engine: right ones, and ones with wrong sizes, types, strides and tables.

    python -m tests.fuzz.binding ENGINE PROGRESS FIRST LAST

Loads the engine from the file ENGINE, makes the calls of seeds FIRST ... LAST - 1, writes each seed to the file PROGRESS before
its call, and prints how many calls of each kind ran and were refused, as JSON. A refusal is one of REFUSALS;
anything else ends the program. Right calls must run; results of some are compared with the reference's. Memory around what is
written to must stay as it was.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib.util
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np


def load(path: str) -> Any:
    """The engine in that file, which the package uses too."""
    spec = importlib.util.spec_from_file_location("dcnn_fast._engine", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["dcnn_fast._engine"] = module
    spec.loader.exec_module(module)
    return module


ENGINE = load(sys.argv[1])

import torch  # noqa: E402 - the package is imported with that engine

from dcnn_fast.networks import CrossMapNorm, Pool, SameMapNorm  # noqa: E402
from dcnn_fast.ops.block import BlockOptions, BlockParams, reference  # noqa: E402
from dcnn_fast.ops.block.backend import Operands, Work  # noqa: E402
from dcnn_fast.ops.region import RegionList  # noqa: E402
from dcnn_fast.ops.region import whole as whole_images  # noqa: E402
from tests.ops.random_tables import Tables, damaged, random_tables  # noqa: E402

REFUSALS = (ValueError, TypeError, MemoryError)  # the last for outputs that no memory holds
MARGIN = 64  # values around an array that is written to
SIZES = (-(2**63), -1, 0, 1, 3, 17, 2**16, 2**31 - 1, 2**31, 2**40, 2**63 - 1, 2**64)
WORDS = ("", "up", "ieee", "cross_map", "mmx", "\0", "x" * 1000)


@dataclass
class Call:
    """A call in the making. `right` until something wrong is put into it."""

    rng: np.random.Generator
    right: bool = True
    wrongness: float = 0.0  # how likely each of its values is a wrong one
    buffers: list[np.ndarray] = field(default_factory=list)

    def spoils(self) -> bool:
        spoilt = bool(self.rng.random() < self.wrongness)
        self.right &= not spoilt
        return spoilt

    def up_to(self, least: int, most: int) -> int:
        return int(self.rng.integers(least, most + 1))

    def size(self, value: int) -> Any:
        if not self.spoils():
            return value
        choice = self.up_to(0, len(SIZES) + 2)
        return (*SIZES, None, 1.5, "3")[choice]

    def word(self, value: str) -> Any:
        return WORDS[self.up_to(0, len(WORDS) - 1)] if self.spoils() else value

    def array(self, shape: tuple[int, ...], dtype: Any = np.float32, order: tuple[int, ...] | None = None) -> Any:
        """Random values between margins that `untouched` looks at. order: the axes from the outermost in memory on."""
        axes = order or tuple(range(len(shape)))
        count = int(np.prod(shape))
        buffer = np.full(count + 2 * MARGIN, 77, dtype)
        inside = buffer[MARGIN : MARGIN + count]
        inside[:] = self.rng.integers(0, 100, count) if np.dtype(dtype).kind in "iu" else self.rng.standard_normal(count)
        self.buffers.append(buffer)
        array = inside.reshape([shape[axis] for axis in axes]).transpose(np.argsort(axes))
        return self.spoilt(array) if self.spoils() else array

    def last(self, shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
        return self.array(shape, dtype, (0, 2, 3, 1))

    def maybe(self, array: Any) -> Any:
        """The array or None, which is right or not as the others decide."""
        return array if self.rng.random() < 0.5 else None

    def spoilt(self, array: np.ndarray) -> Any:
        array = np.atleast_1d(array)
        misaligned = np.empty(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
        readable = array.view()
        readable.flags.writeable = False
        huge = np.broadcast_to(np.zeros(1, array.dtype), (*array.shape[:-2], 2**20, 2**20)) if array.ndim > 1 else array[:0]
        far = np.broadcast_to(array[..., :1], (*array.shape[:-1], 2**36))
        none = np.zeros((*array.shape[:-1], 0), array.dtype)
        none_of_many = np.zeros((0, *array.shape[2:], 2**31), array.dtype) if array.ndim > 1 else none
        choices: list[Any] = [
            None, array.tolist(), array.astype(np.float64), array.astype(np.int8), array.astype(array.dtype.newbyteorder()),
            misaligned, readable, array[..., :-1], array[..., ::-1], array[:0], array.T, array.reshape(-1), array[None], huge,
            np.repeat(array, 2, -1)[..., ::2], np.broadcast_to(array[..., :1], array.shape),
            np.concatenate([array, array[:1]]), far, none, none_of_many,
        ]  # fmt: skip
        return choices[self.up_to(0, len(choices) - 1)]

    def untouched(self) -> bool:
        return all((buffer[:MARGIN] == 77).all() and (buffer[-MARGIN:] == 77).all() for buffer in self.buffers)


def _isa(engine: Any, call: Call) -> Any:
    names = [*engine.isas(), *engine.emulated_isas()]
    return call.word(names[call.up_to(0, len(names) - 1)])


def _norm(engine: Any, call: Call) -> tuple[Any, Any]:
    """The engine's record and the spec's."""
    if call.rng.random() < 0.3:
        return None, None
    kind, size = ("cross_map", "same_map")[call.up_to(0, 1)], call.up_to(1, 5)
    spec = CrossMapNorm(size, 0.1 * size) if kind == "cross_map" else SameMapNorm(size, 0.1 * size**2)
    return engine.Norm(kind=call.word(kind), size=call.size(size), scale=0.1, power=0.75, k=1.0), spec


def _block(engine: Any, call: Call, tables: Any, precision: str) -> tuple[Any, dict[str, Any]]:
    groups = call.up_to(1, 3)
    fields = {
        "channels": groups * call.up_to(1, 5), "filters": groups * call.up_to(1, 9), "size": tables.size,
        "stride": tables.stride, "padding": tables.padding, "groups": groups, "rounding": tables.rounding, "pool": tables.pool,
        "precision": precision, "norm_first": bool(call.up_to(0, 1)), "scale": 0.5,
        "pool_average": bool(call.rng.random() < 0.25), "relu_last": bool(call.rng.random() < 0.25),
    }  # fmt: skip
    norm, spec = _norm(engine, call)
    mean = [float(c) for c in range(fields["channels"])] if call.up_to(0, 1) else []
    given = {
        name: value
        if name in ("pool", "norm_first", "scale", "pool_average", "relu_last")
        else call.word(value)
        if isinstance(value, str)
        else call.size(value)
        for name, value in fields.items()
    }
    if call.spoils():
        given["pool"] = (call.size(1), call.size(1))
    if call.spoils():
        mean = [0.0] * call.up_to(0, 9)
    return engine.Block(**given, norm=norm, mean=mean), {**fields, "mean": mean, "norm": spec}


def _precision(engine: Any, call: Call, isa: Any) -> str:
    known = ["ieee", "bf16"]
    if isa in engine.isas() + engine.emulated_isas() and engine.has_tiles(isa):
        known.append("bf16x3")
    return known[call.up_to(0, len(known) - 1)]


def _source(call: Call, shape: tuple[int, ...], dtype: Any) -> Any:
    """In one of several orders in memory, or with gaps."""
    order = ((0, 1, 2, 3), (0, 2, 3, 1), (3, 1, 0, 2))[call.up_to(0, 2)]
    if call.rng.random() < 0.2:
        images, channels, rows, cols = shape
        return (
            call.array((images, channels, rows, 2 * cols), dtype, order)[..., ::2]
            if not call.wrongness
            else call.array(shape, dtype)
        )
    return call.array(shape, dtype, order)


def regions(engine: Any, call: Call) -> None:
    """Tables, a block, weights and the call that executes them."""
    tables = right = random_tables(call.rng)
    if call.spoils():
        tables = damaged(call.rng, right)
    isa = _isa(engine, call)
    block, fields = _block(engine, call, right, _precision(engine, call, isa))
    channels, filters, groups = fields["channels"], fields["filters"], fields["groups"]
    shape = (filters, channels // groups, right.size, right.size)
    weight = call.array(shape, np.float32, ((0, 1, 2, 3), (0, 2, 3, 1))[call.up_to(0, 1)])
    bias = call.maybe(call.array((filters,)))
    work = engine.Regions(block, tables.regions, tables.pieces, tables.stores, sources=tables.sources, outputs=tables.outputs)
    dtype = (np.float32, np.uint8)[call.up_to(0, 1)]
    sources = [_source(call, (images, channels, rows, cols), dtype) for images, rows, cols in right.sources]
    outputs = [call.last((images, filters, rows, cols)) for images, rows, cols in right.outputs]
    hits = values = None
    if call.spoils():
        hits, values = call.maybe(call.last((2, filters, 3, 3), np.int16)), call.maybe(call.last((2, filters, 3, 3)))
    packing = (engine.PackedWeights, engine.packed_weights)[call.up_to(0, 1)]
    weights = packing(isa, block, weight=weight, bias=bias, taps_only=bool(call.up_to(0, 1)))
    if call.up_to(0, 1):
        engine.looked_up_block_regions(
            isa, block, work, weight=weight, bias=bias, taps_only=bool(call.up_to(0, 1)), sources=sources,
            outputs=outputs, hits=hits, values=values, threads=call.size(1),
        )  # fmt: skip
    if not call.right:
        engine.block_regions(
            weights, work, sources=sources, outputs=outputs, hits=hits, values=values, threads=call.size(call.up_to(1, 3))
        )
        return
    for output in outputs:
        output[...] = np.nan
    engine.block_regions(weights, work, sources=sources, outputs=outputs, hits=None, values=None, threads=call.up_to(1, 3))
    if call.rng.random() < 0.1:
        _require_agreement(right, fields, sources, weight, bias, outputs)
    for given in (sources, outputs):
        for i, array in enumerate(given):
            for wrong in _wrong(array):
                changed = [*given[:i], wrong, *given[i + 1 :]]
                arrays = (
                    {"sources": changed, "outputs": outputs} if given is sources else {"sources": sources, "outputs": changed}
                )
                with _refused():
                    engine.block_regions(weights, work, **arrays, hits=None, values=None, threads=1)
    for i, output in enumerate(outputs):
        insides = [_inside(other, output) for other in (*outputs[:i], *sources)]
        for changed in ([*outputs[:i], inside, *outputs[i + 1 :]] for inside in insides if inside is not None):
            with _refused():
                engine.block_regions(weights, work, sources=sources, outputs=changed, hits=None, values=None, threads=1)
    for wrong in _wrong(weight):
        with _refused():
            packing(isa, block, weight=wrong, bias=bias, taps_only=False)


def _inside(memory: np.ndarray, array: np.ndarray) -> np.ndarray | None:
    """An array of the shape of `array`, in channels_last memory that is also that of `memory`; None where it has no room."""
    if memory.dtype != array.dtype or not array.size or memory.nbytes < array.nbytes or not _dense(memory):
        return None
    at = memory.__array_interface__["data"][0]
    flat = np.frombuffer((ctypes.c_char * array.nbytes).from_address(at), array.dtype)
    images, channels, rows, cols = array.shape
    return flat.reshape(images, rows, cols, channels).transpose(0, 3, 1, 2)


def _dense(array: np.ndarray) -> bool:
    """Whether its values fill their memory from its own address on."""
    reach = sum((count - 1) * stride for count, stride in zip(array.shape, array.strides, strict=True))
    return min(array.strides) >= 0 and reach + array.itemsize == array.nbytes


def _wrong(array: np.ndarray) -> list[np.ndarray]:
    """What cannot stand for an array of four axes: too small, or of another kind."""
    smaller = [array[tuple(slice(-1 if axis == cut else None) for axis in range(4))] for cut in range(4)]
    return [*smaller, array[0], array.astype(np.float64)]


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    """Only a refusal is right inside: an engine that runs has not looked at what it was given."""
    try:
        yield
    except REFUSALS:
        return
    raise AssertionError("a wrong call ran")


def whole(engine: Any, call: Call) -> None:
    """A training forward of whole images and the gradients."""
    shape = random_tables(call.rng)
    isa = _isa(engine, call)
    block, fields = _block(engine, call, shape, ("ieee", "bf16")[call.up_to(0, 1)])
    channels, filters, groups = fields["channels"], fields["filters"], fields["groups"]
    least = shape.size + (shape.pool[0] - 1) * shape.stride  # of which a pool's window is made
    images, rows, cols = call.up_to(0, 3), call.up_to(least, least + 7), call.up_to(least, least + 7)
    table = whole_images(
        images, rows, cols, size=shape.size, stride=shape.stride, padding=shape.padding, rounding=shape.rounding,  # type: ignore[arg-type]
        pool=Pool(*shape.pool),
    )  # fmt: skip
    ((_, out_rows, out_cols),) = table.outputs
    x = _source(call, (images, channels, rows, cols), (np.float32, np.uint8)[call.up_to(0, 1)])
    weight, bias = call.array((filters, channels // groups, shape.size, shape.size)), call.maybe(call.array((filters,)))
    kept = (images, filters, out_rows, out_cols)
    result, values, hits = call.last(kept), call.last(kept), call.last(kept, np.int16)
    work = engine.Regions(block, *table.arrays(), sources=[(images, rows, cols)], outputs=table.outputs)
    weights = engine.packed_weights(isa, block, weight=weight, bias=bias, taps_only=bool(call.up_to(0, 1)))
    engine.block_regions(weights, work, sources=[x], outputs=[result], hits=hits, values=values, threads=call.up_to(1, 3))
    later = fields["pool_average"] or fields["relu_last"]  # for which nothing is right to keep
    given = (
        1 if later and call.up_to(0, 3) else call.up_to(0, 2)
    )  # both kept, neither, or only one of them, which is right where it is all that is needed
    call.right = call.right and not (later and given != 1)
    if given == 2:
        call.right = False
        values, hits = (values, None) if call.up_to(0, 1) else (None, hits)
    elif given == 1:
        values = hits = None
    grad, grad_x = call.last(kept), call.maybe(call.last((images, channels, rows, cols)))
    asked = {
        "isa": isa, "block": block, "x": x, "weight": weight, "bias": bias, "grad": grad, "values": values, "hits": hits,
        "ties": call.word(("all", "first")[call.up_to(0, 1)]), "grad_x": grad_x,
        "grad_weight": call.maybe(call.last((filters, channels // groups, shape.size, shape.size))),
        "grad_bias": call.maybe(call.array((filters,))), "threads": call.size(call.up_to(1, 3)),
    }  # fmt: skip
    engine.block_gradients(**asked)
    if call.right and grad_x is not None:
        for memory in (grad, x, weight, result if values is None else values):
            inside = _inside(memory, grad_x)
            if inside is not None and memory is not result:
                with _refused():
                    engine.block_gradients(**{**asked, "grad_x": inside})


def linear(engine: Any, call: Call) -> None:
    isa = _isa(engine, call)
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
        with _refused():
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
                with _refused():
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


def column_tables(engine: Any, call: Call) -> None:
    """Regions of a column of one block, and the tables of its launches."""
    right = random_tables(call.rng)
    tables = damaged(call.rng, right) if call.spoils() else right
    pool = right.pool
    held = engine.ColumnRegions([(*(call.spoilt(of) if call.spoils() else of for of in tables.arrays()), tables.outputs)])
    if len(right.sources) == 1:
        geometry = engine.RegionGeometry(
            size=call.size(right.size), stride=call.size(right.stride), padding=call.size(right.padding),
            rounding=call.word(right.rounding), pool=(call.size(pool[0]), call.size(pool[1])),
        )  # fmt: skip
        held.require([geometry] * (1 + call.spoils()), tuple(call.size(extent) for extent in right.sources[0]))
    counts = {"filters": call.size(call.up_to(1, 40)), "item": call.size(2)}
    if call.up_to(0, 1):
        cutter = engine.StripCutter(
            outputs=256, ring=308, plane=920, fetched=1408, span=1, steps=3, size=right.size, stride=right.stride,
            pool_size=pool[0], pool_stride=pool[1], most_rows=call.up_to(128, 256), most_cols=256,
        )  # fmt: skip
        shape = engine.BlockShape.strips(cutter, programs=call.up_to(1, 300), **counts)
    else:
        shape = engine.BlockShape.tiles(engine.TileShape(height=call.size(8), width=call.size(16), flat=False), **counts)
    laid = engine.ColumnTables([shape] * (1 + call.spoils()), bool(call.up_to(0, 1)))
    for _ in range(2):
        size, *_ = laid.lay(held, (0, 1, 2, 3, 4))
        laid.write(call.array((size,), np.uint8), 1 << 40, 1 << 41)
        with _refused():
            laid.write(np.zeros(size - 1, np.uint8), 0, 0)


def column(engine: Any, call: Call) -> None:
    """A column of one block: of right calls, the bits of the block by itself."""
    right = random_tables(call.rng)
    tables = damaged(call.rng, right) if call.spoils() else right
    isa = _isa(engine, call)
    block, fields = _block(engine, call, right, _precision(engine, call, isa))
    shape = (fields["filters"], fields["channels"] // fields["groups"], right.size, right.size)
    weight = call.array(shape, np.float32, ((0, 1, 2, 3), (0, 2, 3, 1))[call.up_to(0, 1)])
    bias = call.maybe(call.array((fields["filters"],)))
    images, rows, cols = right.sources[0]
    call.right &= len(right.sources) == 1  # a column's first block has no more
    plane = _source(call, (images, fields["channels"], rows, cols), (np.float32, np.uint8)[call.up_to(0, 1)])
    held = engine.ColumnRegions([(*tables.arrays(), [tuple(call.size(n) for n in shape) for shape in tables.outputs])])
    found = engine.column(
        isa, [block] * (1 + call.spoils()), held, weights=[weight], biases=[bias] * (1 + call.spoils()), plane=plane,
        threads=call.size(call.up_to(1, 3)),
    )  # fmt: skip
    if not call.right:
        return
    work = engine.Regions(block, *right.arrays(), sources=right.sources, outputs=right.outputs)
    outputs = [call.last((n, fields["filters"], *extents)) for n, *extents in right.outputs]
    weights = engine.packed_weights(isa, block, weight=weight, bias=bias, taps_only=False)
    engine.block_regions(weights, work, sources=[plane], outputs=outputs, hits=None, values=None, threads=1)
    stored = np.broadcast_to((_stored(right)[0] == 1)[:, None], found.shape)
    assert np.array_equal(found[stored], outputs[0][stored], equal_nan=True)
    for wrong in (plane[:, :-1], plane[0], plane.astype(np.float64)):  # fewer images or rows may be enough
        with _refused():
            engine.column(isa, [block], held, weights=[weight], biases=[bias], plane=wrong, threads=1)
    for wrong in _wrong(weight):
        with _refused():
            engine.column(isa, [block], held, weights=[wrong], biases=[bias], plane=plane, threads=1)


def mbconv(engine: Any, call: Call) -> None:
    """An inverted residual block: results of right calls are what two orders of the images agree on."""
    isa = _isa(engine, call)
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
    for wrong in (x[:, :-1], x[:, :, 0], x.astype(np.float64)):  # of other extents the result may be as large
        with _refused():
            engine.mbconv(weights, x=wrong, out=out, threads=1)
    for wrong in (*_wrong(out), _inside(x, out)):
        if wrong is not None:
            with _refused():
                engine.mbconv(weights, x=x, out=wrong, threads=1)


def backbone(engine: Any, call: Call) -> None:
    """A stem, a block or two, and a head: images of right calls have the same features alone."""
    isa = _isa(engine, call)
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
    x = _source(call, shape, (np.float32, np.uint8)[call.up_to(0, 1)])
    found = net.features(x, threads=call.size(call.up_to(1, 4)))
    if not call.right:
        return
    assert found.shape == (len(x), filters + outputs)
    for i in range(len(x)):
        assert np.array_equal(net.features(x[i : i + 1], threads=1)[0], found[i], equal_nan=True)
    with _refused():
        net.features(x[:, :-1], threads=1)


def views(engine: Any, call: Call) -> None:
    """Cuts of photographs, filters and offsets: of right calls, cuts are parts of the whole."""

    def extent(value: int) -> Any:  # none that memory holds and takes long to fill
        return (-(2**63), -1, 0, 2**40, 2**63 - 1, 2**64, None, 1.5)[call.up_to(0, 7)] if call.spoils() else value

    isa, rows, cols = _isa(engine, call), call.up_to(1, 12), call.up_to(1, 12)
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
    """A photograph's digest and reduced picture: of right calls, those of its pixels turned by numpy."""
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
    """Calls of a few numbers."""
    isa = _isa(engine, call)
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


def _require_agreement(
    tables: Tables, fields: dict[str, Any], sources: list[np.ndarray], weight: np.ndarray, bias: np.ndarray | None,
    outputs: list[np.ndarray],
) -> None:  # fmt: skip
    """Results are the reference's in float64, where they are stored once."""
    order = f"{'conv-norm-pool' if fields['norm_first'] else 'conv-pool-norm'}{'-relu' if fields['relu_last'] else ''}"
    options = BlockOptions(
        fields["stride"], fields["padding"], fields["groups"], fields["rounding"],
        Pool(*fields["pool"], "avg" if fields["pool_average"] else "max"), fields["norm"], order, "all", fields["precision"],
    )  # fmt: skip
    params = BlockParams(
        1, fields["channels"], 1, 1, fields["filters"], fields["size"], options, torch.float64, torch.float64,
        weight_dtype=torch.float64,
    )  # fmt: skip
    matrices = (torch.from_numpy(matrix) for matrix in (tables.regions, tables.pieces, tables.stores))
    regions = RegionList(*matrices, tuple(tables.outputs))
    expected = [torch.full(output.shape, torch.nan, dtype=torch.float64) for output in outputs]
    pixels = [torch.from_numpy(np.ascontiguousarray(source)).double() for source in sources]
    laid = torch.from_numpy(np.ascontiguousarray(weight)).double(), None if bias is None else torch.from_numpy(bias).double()
    reference.run(params, Operands(*laid, fields["mean"], fields["scale"]), Work(pixels, regions, expected))
    for output, theirs, times in zip(outputs, expected, _stored(tables), strict=True):
        once = np.broadcast_to((times == 1)[:, None], output.shape)
        largest = float(np.abs(theirs.numpy()[once]).max(initial=1.0))
        np.testing.assert_allclose(output[once], theirs.numpy()[once], rtol=0, atol=1e-3 * largest)
        assert np.isnan(output[np.broadcast_to((times == 0)[:, None], output.shape)]).all()


def _stored(tables: Tables) -> list[np.ndarray]:
    """How often each place of every output is stored to, [images, rows, cols]."""
    times = [np.zeros(shape, int) for shape in tables.outputs]
    for *_, first, count in tables.regions.tolist():
        for *_, start, number in tables.pieces[first : first + count].tolist():
            for _, _, height, width, output, image, top, left in tables.stores[start : start + number].tolist():
                times[output][image, top : top + height, left : left + width] += 1
    return times


def run(engine: Any, seed: int) -> tuple[str, bool]:
    """The kind of the call, and whether it ran; otherwise it was refused."""
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
