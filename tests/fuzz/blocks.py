"""Random calls that compute blocks of regions, of whole images and of columns; regions' results equal the reference's."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from dcnn_fast.networks import CrossMapNorm, Pool, SameMapNorm
from dcnn_fast.ops.block import BlockOptions, BlockParams, reference
from dcnn_fast.ops.block.backend import Operands, Work
from dcnn_fast.ops.region import RegionList
from dcnn_fast.ops.region import whole as whole_images
from tests.fuzz.calls import Call, any_isa, laid_inside, refused, wrong_places
from tests.ops.random_tables import Tables, damaged, random_tables


def _norm(engine: Any, call: Call) -> tuple[Any, Any]:
    """The engine's record of a norm, and the spec's."""
    if call.rng.random() < 0.3:
        return None, None
    kind, size = ("cross_map", "same_map")[call.up_to(0, 1)], call.up_to(1, 5)
    spec = CrossMapNorm(size, 0.1 * size) if kind == "cross_map" else SameMapNorm(size, 0.1 * size**2)
    return engine.Norm(kind=call.word(kind), size=call.size(size), scale=0.1, power=0.75, k=1.0), spec


def block_of(engine: Any, call: Call, tables: Any, precision: str) -> tuple[Any, dict[str, Any]]:
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


def precision_of(engine: Any, call: Call, isa: Any) -> str:
    known = ["ieee", "bf16"]
    if isa in engine.isas() + engine.emulated_isas() and engine.has_tiles(isa):
        known.append("bf16x3")
    return known[call.up_to(0, len(known) - 1)]


def source_of(call: Call, shape: tuple[int, ...], dtype: Any) -> Any:
    """An array in one of several orders in memory, or with gaps."""
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
    """A call with tables, a block and weights."""
    tables = right = random_tables(call.rng)
    if call.spoils():
        tables = damaged(call.rng, right)
    isa = any_isa(engine, call)
    block, fields = block_of(engine, call, right, precision_of(engine, call, isa))
    channels, filters, groups = fields["channels"], fields["filters"], fields["groups"]
    shape = (filters, channels // groups, right.size, right.size)
    weight = call.array(shape, np.float32, ((0, 1, 2, 3), (0, 2, 3, 1))[call.up_to(0, 1)])
    bias = call.maybe(call.array((filters,)))
    work = engine.Regions(block, tables.regions, tables.pieces, tables.stores, sources=tables.sources, outputs=tables.outputs)
    dtype = (np.float32, np.uint8)[call.up_to(0, 1)]
    sources = [source_of(call, (images, channels, rows, cols), dtype) for images, rows, cols in right.sources]
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
            for wrong in wrong_places(array):
                changed = [*given[:i], wrong, *given[i + 1 :]]
                arrays = (
                    {"sources": changed, "outputs": outputs} if given is sources else {"sources": sources, "outputs": changed}
                )
                with refused():
                    engine.block_regions(weights, work, **arrays, hits=None, values=None, threads=1)
    for i, output in enumerate(outputs):
        insides = [laid_inside(other, output) for other in (*outputs[:i], *sources)]
        for changed in ([*outputs[:i], inside, *outputs[i + 1 :]] for inside in insides if inside is not None):
            with refused():
                engine.block_regions(weights, work, sources=sources, outputs=changed, hits=None, values=None, threads=1)
    for wrong in wrong_places(weight):
        with refused():
            packing(isa, block, weight=wrong, bias=bias, taps_only=False)


def whole(engine: Any, call: Call) -> None:
    """A training forward of whole images, and the gradients."""
    shape = random_tables(call.rng)
    isa = any_isa(engine, call)
    block, fields = block_of(engine, call, shape, ("ieee", "bf16")[call.up_to(0, 1)])
    channels, filters, groups = fields["channels"], fields["filters"], fields["groups"]
    least = shape.size + (shape.pool[0] - 1) * shape.stride  # the extent of a pool's window on the source
    images, rows, cols = call.up_to(0, 3), call.up_to(least, least + 7), call.up_to(least, least + 7)
    table = whole_images(
        images, rows, cols, size=shape.size, stride=shape.stride, padding=shape.padding, rounding=shape.rounding,  # type: ignore[arg-type]
        pool=Pool(*shape.pool),
    )  # fmt: skip
    ((_, out_rows, out_cols),) = table.outputs
    x = source_of(call, (images, channels, rows, cols), (np.float32, np.uint8)[call.up_to(0, 1)])
    weight, bias = call.array((filters, channels // groups, shape.size, shape.size)), call.maybe(call.array((filters,)))
    kept = (images, filters, out_rows, out_cols)
    result, values, hits = call.last(kept), call.last(kept), call.last(kept, np.int16)
    work = engine.Regions(block, *table.arrays(), sources=[(images, rows, cols)], outputs=table.outputs)
    weights = engine.packed_weights(isa, block, weight=weight, bias=bias, taps_only=bool(call.up_to(0, 1)))
    engine.block_regions(weights, work, sources=[x], outputs=[result], hits=hits, values=values, threads=call.up_to(1, 3))
    later = fields["pool_average"] or fields["relu_last"]  # no hits and values could be right for these
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
            inside = laid_inside(memory, grad_x)
            if inside is not None and memory is not result:
                with refused():
                    engine.block_gradients(**{**asked, "grad_x": inside})


def column_tables(engine: Any, call: Call) -> None:
    """Regions of a column with one block, and the tables of its launches."""
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
        with refused():
            laid.write(np.zeros(size - 1, np.uint8), 0, 0)


def column(engine: Any, call: Call) -> None:
    """A column with one block: in valid calls, the same bits as the block alone."""
    right = random_tables(call.rng)
    tables = damaged(call.rng, right) if call.spoils() else right
    isa = any_isa(engine, call)
    block, fields = block_of(engine, call, right, precision_of(engine, call, isa))
    shape = (fields["filters"], fields["channels"] // fields["groups"], right.size, right.size)
    weight = call.array(shape, np.float32, ((0, 1, 2, 3), (0, 2, 3, 1))[call.up_to(0, 1)])
    bias = call.maybe(call.array((fields["filters"],)))
    images, rows, cols = right.sources[0]
    call.right &= len(right.sources) == 1  # a column's first block has a single source
    plane = source_of(call, (images, fields["channels"], rows, cols), (np.float32, np.uint8)[call.up_to(0, 1)])
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
    stored = np.broadcast_to((times_stored(right)[0] == 1)[:, None], found.shape)
    assert np.array_equal(found[stored], outputs[0][stored], equal_nan=True)
    for wrong in (plane[:, :-1], plane[0], plane.astype(np.float64)):  # fewer images or rows may be enough
        with refused():
            engine.column(isa, [block], held, weights=[weight], biases=[bias], plane=wrong, threads=1)
    for wrong in wrong_places(weight):
        with refused():
            engine.column(isa, [block], held, weights=[wrong], biases=[bias], plane=plane, threads=1)


def _require_agreement(
    tables: Tables, fields: dict[str, Any], sources: list[np.ndarray], weight: np.ndarray, bias: np.ndarray | None,
    outputs: list[np.ndarray],
) -> None:  # fmt: skip
    """Check that results equal the reference's in float64 in places that are stored once."""
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
    for output, theirs, times in zip(outputs, expected, times_stored(tables), strict=True):
        once = np.broadcast_to((times == 1)[:, None], output.shape)
        largest = float(np.abs(theirs.numpy()[once]).max(initial=1.0))
        np.testing.assert_allclose(output[once], theirs.numpy()[once], rtol=0, atol=1e-3 * largest)
        assert np.isnan(output[np.broadcast_to((times == 0)[:, None], output.shape)]).all()


def times_stored(tables: Tables) -> list[np.ndarray]:
    """The number of stores to each place of every output, [images, rows, cols]."""
    times = [np.zeros(shape, int) for shape in tables.outputs]
    for *_, first, count in tables.regions.tolist():
        for *_, start, number in tables.pieces[first : first + count].tolist():
            for _, _, height, width, output, image, top, left in tables.stores[start : start + number].tolist():
                times[output][image, top : top + height, left : left + width] += 1
    return times
