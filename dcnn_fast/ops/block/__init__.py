"""The fused block: conv -> bias -> ReLU -> [pool and response norm, either order], or with the ReLU last.

`block` is differentiable and takes whole images; `block_regions` executes a list of regions (docs/design.md#data-flow).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dcnn_fast import engine
from dcnn_fast.networks import Norm, Order, Pool, Rounding
from dcnn_fast.ops import backend as backends
from dcnn_fast.ops import memory
from dcnn_fast.ops.block import autograd, cpu, cuda, reference, triton
from dcnn_fast.ops.block.backend import BlockBackend, Needs, Operands, Saved, Work
from dcnn_fast.ops.block.calls import call_of, problem_of, signature
from dcnn_fast.ops.block.params import FLAT_SCHEMA, BlockOptions, BlockParams, OutputTile, Ties
from dcnn_fast.ops.block.prepared import PreparedBlock, owned
from dcnn_fast.ops.launch import copied
from dcnn_fast.ops.precision import Precision
from dcnn_fast.ops.region import RegionList, require_regions
from dcnn_fast.ops.registry import register, require_tensors
from dcnn_fast.ops.torch_tools import in_one_batch, in_transform, one_by_one, refuse_tangents, widened, written_to

BACKENDS: Mapping[str, BlockBackend] = {
    "cuda": cuda.BACKEND, "triton": triton.BACKEND, "cpu": cpu.BACKEND, "reference": reference.BACKEND,
}  # fmt: skip

_FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def block(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
    rounding: Rounding = "up",
    pool: Pool | tuple[int, int] | None = None,
    norm: Norm | None = None,
    order: Order = "conv-pool-norm",
    ties: Ties = "all",
    mean: Sequence[float] = (),
    scale: float = 1.0,
    precision: Precision = "ieee",
) -> Tensor:
    """One fused block of whole images, differentiable in x, weight and bias.

    Where a gradient is asked for, the results that `BlockParams.kept` names are kept beside the operands until the backward.
    With ties "all" the result of a pool may then differ in its last bits from the one without a gradient: equal inputs must
    give equal outputs, lest ties be lost. With "first" they need not, and the C++ engine computes forward and backward in tiles
    where it does so without a gradient.

    Under torch.autocast the block computes in weight's dtype and the named precision as without; an x in a narrower format, as
    torch's own layers give there, is widened to it. vmap and the reverse-mode transforms of torch.func work (docs/training.md).

    Args:
        x: [N, C, H, W], any strides (channels_last is fastest), in weight's dtype or bytes, on weight's device.
        weight: [F, C / groups, S, S], floating point; cross-correlated.
        bias: [F] in weight's dtype and on its device, or None.
        stride: The convolution's step, in pixels, 1 to S.
        padding: Zeros that the convolution reads at each edge, in pixels, 0 to S - 1.
        groups: The convolution's groups of channels and filters.
        rounding: "up" (cuda-convnet: the last conv or pool window may hang over the right and bottom edge; a conv reads zeros
            there, a pool ignores it) or "down".
        pool: None, (size, stride) or a Pool, which says whether the largest value or the average is taken.
        norm: None, CrossMapNorm or SameMapNorm.
        order: Whether pool or norm comes first; where it ends in "relu", the ReLU comes behind both.
        ties: The elements that get a pool's gradient, "all" equal maxima (cuda-convnet) or the "first" (torch).
        mean: Subtracted from bytes, which enter as (x - mean) * scale and are kept as bytes for the backward: one value per
            channel, or empty for none. Floating x enters as it is.
        scale: The factor of bytes after `mean`.
        precision: The precision of the convolution's products, named and never implied: "ieee", "tf32", "bf16", "bf16x3" or
            "fp16" (dcnn_fast/ops/precision.py).

    Returns:
        [N, F, H', W'] in weight's dtype and in channels_last memory.

    Raises:
        ValueError: An argument breaks a rule; the message names the argument, the rule and the value.
        TypeError: An argument has the wrong type or dtype; the message names it, the rule and the type given.
        BackendError: No backend can run it.
        RuntimeError: Forward mode or a second derivative is asked for.

    Example:
        >>> x, weight = torch.ones(1, 3, 8, 8), torch.ones(4, 3, 3, 3)
        >>> block(x, weight, padding=1, pool=(2, 2)).shape
        torch.Size([1, 4, 4, 4])

    Source:
        docs/design.md#blocks, docs/design.md#data-flow, docs/cuda-convnet.md#formulas
    """
    call = call_of(stride, padding, groups, rounding, _pool_of(pool), norm, order, ties, precision)
    require_tensors(x=x, weight=weight)
    if bias is not None:
        require_tensors(bias=bias)
    x = widened(x, weight)
    operands = signature(x, weight, bias, mean, scale)
    if operands is None or operands not in call.right:
        _require_operands(x, weight, bias, call.options, mean, scale)
        if operands is not None:
            call.note(operands)
    refuse_tangents("block", x, weight, bias)
    return autograd.run(x, weight, bias, *call.flat, list(mean), float(scale))


def block_regions(
    sources: Sequence[Tensor],
    regions: RegionList,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
    rounding: Rounding = "up",
    pool: Pool | tuple[int, int] | None = None,
    norm: Norm | None = None,
    order: Order = "conv-pool-norm",
    mean: Sequence[float] = (),
    scale: float = 1.0,
    precision: Precision = "ieee",
    out_dtype: torch.dtype | None = None,
    out: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """The block over a list of regions, the form that every backend executes, for brute force and sharing plans alike.

    The regions say which pixels are read (see `Region`), inside the bounds that padding and rounding set. Not differentiable.

    Args:
        sources: Images [N, C, H, W] each, all uint8 or all in weight's dtype.
        regions: The regions, and the shapes of the outputs.
        weight: [F, C / groups, S, S], as for `block`.
        bias: [F] in weight's dtype, or None.
        stride: The convolution's step, in pixels.
        padding: Bounds, with rounding, how far a region may read past its window, in pixels.
        groups: The convolution's groups of channels and filters.
        rounding: "up" or "down", as for `block`; bounds, with padding, how far a region may read past its window.
        pool: None, (size, stride) or a Pool.
        norm: None, CrossMapNorm or SameMapNorm.
        order: As for `block`.
        mean: Subtracted from every pixel, which enters as (pixel - mean) * scale: one value per channel, or empty for none.
        scale: The factor of a pixel after `mean`.
        precision: The precision of the convolution's products, as for `block`.
        out_dtype: The results' dtype; None: weight's.
        out: Tensors to write to and return, with the results' shapes, dtype and memory format; None: new ones. Places that
            nothing is stored to stay as they were.

    Returns:
        One [images, F, height, width] tensor, in channels_last memory and out_dtype, for each of regions.outputs. In new
            tensors, places that nothing is stored to are unspecified.

    Raises:
        RuntimeError: A gradient or a tangent is asked for, or a transform of torch.func (vmap too) is at work.
        ValueError: An argument or a region breaks a rule; the message names it, the rule and the value.
        TypeError: An argument has the wrong type or dtype; the message names it, the rule and the type given.
        BackendError: No backend can run it.
    """
    options = BlockOptions(stride, padding, groups, rounding, _pool_of(pool), norm, order, "all", precision)
    _require_sources(sources, weight, bias, options, mean)
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (*sources, weight, bias)):
        raise RuntimeError("block_regions has no backward: call it under torch.no_grad(), or use block")
    if in_transform():
        raise RuntimeError("block_regions does not run under vmap and other transforms of torch.func: use block")
    refuse_tangents("block_regions", *sources, weight, bias)
    _require_out_dtype(out_dtype or weight.dtype)
    if out is not None:
        _require_out(out, regions, out_dtype or weight.dtype, sources, weight, bias)
        _execute(Work(sources, regions, out), Operands(weight, bias, mean, scale), options)
        written_to(out)
        return list(out)
    outputs = [extent for shape in regions.outputs for extent in shape]
    result: list[Tensor] = torch.ops.dcnn_fast.block_regions(
        list(sources), regions.regions, regions.pieces, regions.stores, outputs, weight, bias, *options.flat(), list(mean),
        scale, out_dtype or weight.dtype,
    )  # fmt: skip
    return result


@torch.no_grad()
def column_blocks(
    params: Sequence[BlockParams], operands: Sequence[Operands], plane: Tensor, regions: Sequence[RegionList]
) -> Tensor:
    """A column's blocks one after another over a plan's regions; scoring on a cpu runs it for every photograph.

    params: each block's problem, extents ignored. operands: each block's, on the cpu. plane: [1, C, H, W] in
    the first block's params.dtype. regions: each block's, the first of the plane, the others of the outputs of the one before.
    Returns [windows, F, rows, cols] of the last block's output 0, contiguous and in memory of its own.

    The bits of `block_regions` block by block; where the C++ engine runs all blocks, one call of it, which gives the
    interpreter's lock away once. Not differentiable.

    Raises ValueError as `block_regions` does, and BackendError when no backend can run a block.
    """
    backend = [_backend_of(each, of.weight.device) for each, of in zip(params, operands, strict=True)]
    if all(each is cpu.BACKEND for each in backend):
        return cpu.run_column(params, operands, plane, regions, engine.threads())
    sources = [plane]
    for each, of, table in zip(params, operands, regions, strict=True):
        o = each.options
        # Not torch's own memory: laying that out may wait for torch's threads, which a forked process does not have.
        out = [memory.empty_channels_last((n, each.filters, *extents), each.out_dtype) for n, *extents in table.outputs]
        sources = block_regions(
            sources, table, of.weight, of.bias, stride=o.stride, padding=o.padding, groups=o.groups, rounding=o.rounding,
            pool=o.pool, norm=o.norm, order=o.order, mean=of.mean, scale=of.scale, precision=o.precision,
            out_dtype=each.out_dtype, out=out,
        )  # fmt: skip
    return memory.contiguous(sources[0])


def _pool_of(pool: Pool | tuple[int, int] | None) -> Pool | None:
    if isinstance(pool, tuple):
        if len(pool) != 2:
            raise ValueError(f"pool must be None, (size, stride) or Pool, got {pool!r}")
        return Pool(*pool)
    return pool


def params_of(x: Tensor, weight: Tensor, options: BlockOptions) -> BlockParams:
    """The problem that `block(x, weight, ...)` poses."""
    images, channels, height, width = x.shape
    return BlockParams(
        images, channels, height, width, weight.shape[0], weight.shape[2], options, x.dtype, weight.dtype,
        weight_dtype=weight.dtype,
    )  # fmt: skip


def output_tile(
    backend: str, *, size: int, stride: int, channels: int, filters: int, precision: Precision = "ieee"
) -> OutputTile:
    """How a backend's convolution computes its outputs: one by one, or in tiles from the same products.

    channels, filters: of one group. The engine's answer is that of the instruction set in use.
    """
    return BACKENDS[backend].output_tile(size, stride, channels, filters, precision)


def prepare(
    params: BlockParams, weight: Tensor, bias: Tensor | None = None, *, mean: Sequence[float] = (), scale: float = 1.0
) -> PreparedBlock:
    """Choose a backend on the device of `weight` and lay out the operands for it; the result runs any number of `Work` records.

    params: the problem, extents ignored. weight [F, C / groups, S, S], bias [F]: of params.weight_dtype; both are copied, so
    later writes to them have no effect. mean, scale: as in `block_regions`. Raises BackendError when no backend can run it.
    """
    operands = Operands(owned(weight), None if bias is None else owned(bias), tuple(mean), float(scale))
    return PreparedBlock(params, _backend_of(params, weight.device).prepare(params, operands))


def explain(params: BlockParams, device: torch.device | str = "cpu") -> list[backends.Answer]:
    """Every backend's answer to one block problem, in order of preference."""
    return backends.explain(BACKENDS, params, torch.device(device))


def _floats_of(x: Tensor, params: BlockParams, mean: Sequence[float], scale: float) -> Tensor:
    """Bytes as they enter the convolution, for backends whose whole images are floats."""
    if x.dtype != torch.uint8:
        return x
    x = x.to(params.weight_dtype)
    if mean:
        x = x - copied(torch.tensor(mean, dtype=x.dtype, device="cpu"), x.device).reshape(1, -1, 1, 1)
    return x if scale == 1 else x * scale


def _backend_of(params: BlockParams, device: torch.device) -> BlockBackend:
    """The backend that runs a problem."""
    return BACKENDS[backends.choose(BACKENDS, params, device)]


def _whole_images(
    x: Tensor, weight: Tensor, bias: Tensor | None, flat: Sequence[Any], mean: Sequence[float], scale: float, *, backward: bool
) -> tuple[BlockBackend, BlockParams, Operands, Tensor]:
    """The backend of a problem of whole images, the problem, and its operands and x as that backend takes them.

    The operator may be called directly, so operands are checked here again unless the backend checks them.
    """
    problem = problem_of(x, weight, flat)
    params = problem.result
    backend = _backend_of(problem.gradient if backward else params, x.device)
    if not backend.checks:
        operands = signature(x, weight, bias, mean, scale)
        if operands is None or operands not in problem.right:
            _require_operands(x, weight, bias, params.options, mean, scale)
            problem.note(operands)
    if backend.takes_bytes:
        return backend, params, Operands(weight, bias, mean, scale), x
    return backend, params, Operands(weight, bias), _floats_of(x, params, mean, scale)


def _run_block(x: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any) -> Tensor:
    *flat, mean, scale = rest
    backend, params, operands, x = _whole_images(x, weight, bias, flat, mean, scale, backward=False)
    return _channels_last(backend.forward(params, operands, x))


def _fake_block(x: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any) -> Tensor:
    *flat, mean, scale = rest
    options = BlockOptions.from_flat(*flat)
    _require_operands(x, weight, bias, options, mean, scale)
    shape = params_of(x, weight, options).out_shape
    return x.new_empty(shape, dtype=weight.dtype).contiguous(memory_format=torch.channels_last)


def _run_training(x: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    *flat, mean, scale = rest
    backend, params, operands, x = _whole_images(x, weight, bias, flat, mean, scale, backward=True)
    made = backend.training(params, operands, x)
    return (
        _channels_last(made.result),
        weight.new_empty(0) if made.values is None else _channels_last(made.values),
        weight.new_empty(0) if made.hits is None else _channels_last(made.hits),
    )


def _fake_training(x: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    *flat, _, _ = rest
    kept = params_of(x, weight, BlockOptions.from_flat(*flat)).kept
    result = _fake_block(x, weight, bias, *rest)
    return (
        result,
        torch.empty_like(result) if kept.values else weight.new_empty(0),
        torch.empty_like(result, dtype=torch.int16) if kept.hits else weight.new_empty(0),
    )


def _run_backward(
    grad: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, values: Tensor, hits: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    *flat, needs, mean, scale = rest
    backend, params, operands, x = _whole_images(x, weight, bias, flat, mean, scale, backward=True)
    kept = params.kept
    if len(needs) != len(Needs._fields):
        raise ValueError(f"needs must say whether the gradients of x, weight and bias are needed, got {list(needs)}")
    _require_saved(grad, values, hits, params)
    saved = Saved(values if kept.values or kept.result else None, hits if kept.hits else None)
    made = backend.backward(problem_of(x, weight, flat).gradient, operands, x, saved, grad, Needs(*needs))
    return (
        weight.new_empty(0) if made.x is None else _channels_last(made.x),
        weight.new_empty(0) if made.weight is None else _channels_last(made.weight),
        weight.new_empty(0) if made.bias is None else made.bias.contiguous(),
    )


def _fake_backward(
    grad: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, values: Tensor, hits: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    *_, needs, _, _ = rest
    last = torch.channels_last
    return (
        torch.empty_like(x, memory_format=last) if needs[0] else weight.new_empty(0),
        torch.empty_like(weight, memory_format=last) if needs[1] else weight.new_empty(0),
        torch.empty_like(bias) if needs[2] and bias is not None else weight.new_empty(0),
    )


def _run_regions(
    sources: list[Tensor], regions: Tensor, pieces: Tensor, stores: Tensor, outputs: list[int], weight: Tensor,
    bias: Tensor | None, *rest: Any,
) -> list[Tensor]:  # fmt: skip
    *flat, mean, scale, out_dtype = rest
    options = BlockOptions.from_flat(*flat)
    _require_sources(sources, weight, bias, options, mean)
    _require_out_dtype(out_dtype)
    results = _fake_regions(sources, regions, pieces, stores, outputs, weight, bias, *rest)
    table = RegionList(regions, pieces, stores, _triples(outputs))
    _execute(Work(sources, table, results), Operands(weight, bias, mean, scale), options)
    return results


def _execute(work: Work, operands: Operands, options: BlockOptions) -> None:
    """Check the regions and do the work, with the chosen backend; without outputs to write to, only check."""
    size, weight = operands.weight.shape[2], operands.weight
    backend, params = None, None
    if work.outputs:
        params = _regions_params(work.sources, weight, options, work.outputs[0].dtype)
        backend = _backend_of(params, weight.device)
    if backend is None or not backend.checks:
        require_regions(
            [(source.shape[0], source.shape[2], source.shape[3]) for source in work.sources], work.regions, size=size,
            stride=options.stride, padding=options.padding, rounding=options.rounding, pool=options.pool,
        )  # fmt: skip
    if backend is not None and params is not None:
        backend.prepare(params, operands).run(work)


def _fake_regions(
    sources: list[Tensor], regions: Tensor, pieces: Tensor, stores: Tensor, outputs: list[int], weight: Tensor,
    bias: Tensor | None, *rest: Any,
) -> list[Tensor]:  # fmt: skip
    shapes = [(images, weight.shape[0], rows, cols) for images, rows, cols in _triples(outputs)]
    return [weight.new_empty(shape, dtype=rest[-1]).contiguous(memory_format=torch.channels_last) for shape in shapes]


def _regions_params(sources: Sequence[Tensor], weight: Tensor, options: BlockOptions, out_dtype: torch.dtype) -> BlockParams:
    largest = max(sources, key=lambda source: source.shape[2] * source.shape[3])
    _, channels, height, width = largest.shape
    images = sum(source.shape[0] for source in sources)
    filters, _, size, _ = weight.shape
    return BlockParams(
        images, channels, height, width, filters, size, options, largest.dtype, out_dtype, weight_dtype=weight.dtype
    )


def _triples(outputs: Sequence[int]) -> tuple[tuple[int, int, int], ...]:
    if len(outputs) % 3 or any(extent < 0 for extent in outputs):
        raise ValueError(f"outputs must be images, height and width of each, none negative, got {list(outputs)}")
    return tuple((outputs[i], outputs[i + 1], outputs[i + 2]) for i in range(0, len(outputs), 3))


def _channels_last(tensor: Tensor) -> Tensor:
    """The values in channels_last memory, never as a view: torch forbids writing to views that a function made."""
    laid = memory.channels_last(tensor) if tensor.is_cpu else tensor.contiguous(memory_format=torch.channels_last)
    return laid.data


def _require_operands(
    x: Tensor, weight: Tensor, bias: Tensor | None, options: BlockOptions, mean: Sequence[float], scale: float
) -> None:
    if x.dtype == torch.uint8:
        if weight.dtype not in _FLOATS:
            raise TypeError(f"weight must be float64, float32, bfloat16 or float16, got {weight.dtype}")
    elif x.dtype not in _FLOATS:
        raise TypeError(f"x must be float64, float32, bfloat16, float16 or uint8, got {x.dtype}")
    elif weight.dtype != x.dtype:
        raise TypeError(f"weight must have x's dtype {x.dtype}, got {weight.dtype}")
    elif len(mean) or scale != 1:
        raise ValueError(f"mean and scale are for bytes: floating x enters as it is, got mean {list(mean)} and scale {scale}")
    _require_shapes("x", x, weight, bias, options)
    _require_mean(mean, x)
    if min(params_of(x, weight, options).out_shape[2:]) < 1:
        raise ValueError(
            f"x must be large enough for one output, got {list(x.shape)} for a filter of {weight.shape[2]} and {options}"
        )


def _require_sources(
    sources: Sequence[Tensor], weight: Tensor, bias: Tensor | None, options: BlockOptions, mean: Sequence[float]
) -> None:
    require_tensors(weight=weight, **{f"sources[{i}]": source for i, source in enumerate(sources)})
    if bias is not None:
        require_tensors(bias=bias)
    if not sources:
        raise ValueError("sources must hold at least one tensor, got none")
    if weight.dtype not in _FLOATS:
        raise TypeError(f"weight must be float64, float32, bfloat16 or float16, got {weight.dtype}")
    for i, source in enumerate(sources):
        if source.dtype not in (torch.uint8, weight.dtype) or source.dtype != sources[0].dtype:
            raise TypeError(f"sources must all be uint8 or all have weight's dtype {weight.dtype}, got {source.dtype} at {i}")
        _require_shapes(f"sources[{i}]", source, weight, bias, options)
    _require_mean(mean, sources[0])


def _require_mean(mean: Sequence[float], source: Tensor) -> None:
    if len(mean) not in (0, source.shape[1]):
        raise ValueError(f"mean must be empty or have one value for each of {source.shape[1]} channels, got {len(mean)}")


def _require_saved(grad: Tensor, values: Tensor, hits: Tensor, params: BlockParams) -> None:
    """Raise as `block` does unless these are a result's gradient and the tensors that its forward kept."""
    kept = params.kept
    wanted = [("grad", grad, params.out_dtype, True), ("values", values, params.out_dtype, kept.values or kept.result)]
    for name, tensor, dtype, used in (*wanted, ("hits", hits, torch.int16, kept.hits)):
        if used and (tuple(tensor.shape) != params.out_shape or tensor.dtype != dtype):
            got = f"{tensor.dtype} {list(tensor.shape)}"
            raise ValueError(f"{name} must be {dtype} {list(params.out_shape)}, got {got}")


def _require_out_dtype(dtype: torch.dtype) -> None:
    if dtype not in _FLOATS:
        raise TypeError(f"out_dtype must be float64, float32, bfloat16 or float16, got {dtype}")


def _require_out(
    out: Sequence[Tensor], regions: RegionList, dtype: torch.dtype, sources: Sequence[Tensor], weight: Tensor,
    bias: Tensor | None,
) -> None:  # fmt: skip
    require_tensors(**{f"out[{i}]": tensor for i, tensor in enumerate(out)})
    shapes = [(images, weight.shape[0], rows, cols) for images, rows, cols in regions.outputs]
    if [tuple(tensor.shape) for tensor in out] != shapes:
        raise ValueError(f"out must have shapes {shapes}, got {[tuple(tensor.shape) for tensor in out]}")
    for i, tensor in enumerate(out):
        if tensor.dtype != dtype or tensor.device != weight.device:
            raise ValueError(f"out[{i}] must be {dtype} on {weight.device}, got {tensor.dtype} on {tensor.device}")
        if not tensor.is_contiguous(memory_format=torch.channels_last):
            raise ValueError(f"out[{i}] must be contiguous in channels_last memory")
        if tensor.requires_grad:
            raise ValueError(f"out[{i}] must not require a gradient: what is written to it has none")
        if tensor.is_neg() or torch._is_zerotensor(tensor):
            raise ValueError(f"out[{i}] must have its values in memory: give the clone of a negated view or of a zero tensor")
    written = {f"out[{i}]": tensor for i, tensor in enumerate(out)}
    read = {f"sources[{i}]": tensor for i, tensor in enumerate(sources)} | {"weight": weight}
    memory.require_apart(written, read if bias is None else {**read, "bias": bias})


def _require_shapes(name: str, x: Tensor, weight: Tensor, bias: Tensor | None, options: BlockOptions) -> None:
    if x.ndim != 4:
        raise ValueError(f"{name} must have shape [N, C, H, W], got {list(x.shape)}")
    if weight.ndim != 4 or weight.shape[2] != weight.shape[3]:
        raise ValueError(f"weight must have shape [F, C / groups, S, S], got {list(weight.shape)}")
    if x.shape[1] != weight.shape[1] * options.groups:
        raise ValueError(
            f"{name} must have weight.shape[1] * groups = {weight.shape[1]} * {options.groups} channels, got {x.shape[1]}"
        )
    if weight.shape[0] % options.groups:
        raise ValueError(f"groups must divide the {weight.shape[0]} filters, got {options.groups}")
    if options.padding >= weight.shape[2]:
        raise ValueError(f"padding must be less than the filter size {weight.shape[2]}, got {options.padding}")
    if options.stride > weight.shape[2]:
        raise ValueError(f"stride must not exceed the filter size {weight.shape[2]}, got {options.stride}")
    if bias is not None and (bias.shape != (weight.shape[0],) or bias.dtype != weight.dtype):
        raise ValueError(f"bias must be [{weight.shape[0]}] of {weight.dtype}, got {list(bias.shape)} of {bias.dtype}")
    devices = {tensor.device for tensor in (x, weight, bias) if tensor is not None}
    if len(devices) > 1:
        raise ValueError(f"{name}, weight and bias must be on one device, got {', '.join(sorted(map(str, devices)))}")


_PIXELS = "float[] mean, float scale"

register(
    f"block(Tensor x, Tensor weight, Tensor? bias, {FLAT_SCHEMA}, {_PIXELS}) -> Tensor", _run_block, _fake_block, in_one_batch
)
register(
    f"block_training(Tensor x, Tensor weight, Tensor? bias, {FLAT_SCHEMA}, {_PIXELS}) -> (Tensor, Tensor, Tensor)",
    _run_training,
    _fake_training,
    in_one_batch,
)
register(
    f"block_backward(Tensor grad, Tensor x, Tensor weight, Tensor? bias, Tensor values, Tensor hits, {FLAT_SCHEMA}, "
    f"bool[] needs, {_PIXELS}) -> (Tensor, Tensor, Tensor)",
    _run_backward,
    _fake_backward,
    one_by_one,
)
register(
    "block_regions(Tensor[] sources, Tensor regions, Tensor pieces, Tensor stores, int[] outputs, Tensor weight, Tensor? bias, "
    f"{FLAT_SCHEMA}, float[] mean, float scale, ScalarType out_dtype) -> Tensor[]",
    _run_regions,
    _fake_regions,
)

__all__ = [
    "BACKENDS",
    "BlockOptions",
    "BlockParams",
    "OutputTile",
    "Precision",
    "PreparedBlock",
    "Ties",
    "block",
    "block_regions",
    "explain",
    "output_tile",
    "params_of",
    "prepare",
]
