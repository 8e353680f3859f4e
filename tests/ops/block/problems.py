"""The block problems every backend is tested on, and the walk over the backends that can run one."""

from __future__ import annotations

from dataclasses import replace

import torch

from dcnn_fast import networks
from dcnn_fast.ops import CrossMapNorm, Pool, SameMapNorm
from dcnn_fast.ops.block import BACKENDS, BlockOptions, BlockParams
from dcnn_fast.ops.block.backend import Needs, Operands, Saved, Work

POOL = Pool(3, 2)
AVERAGE = Pool(3, 2, "avg")
CROSS = CrossMapNorm(5, 0.3, 0.75, 1.0)
SAME = SameMapNorm(3, 0.3, 0.75)


def problem(images, channels, height, width, filters, size, dtype=torch.float64, **options):
    """Build BlockParams from plain numbers."""
    return BlockParams(images, channels, height, width, filters, size, BlockOptions(**options), dtype, dtype)


# small enough for numpy loops
SMALL = [
    problem(1, 1, 1, 1, 1, 1),
    problem(2, 3, 7, 5, 4, 3),
    problem(1, 3, 9, 8, 4, 3, padding=1, pool=POOL, norm=CROSS),
    problem(1, 3, 9, 8, 4, 3, padding=1, pool=POOL, norm=CROSS, order="conv-norm-pool"),
    problem(1, 3, 9, 8, 4, 3, padding=1, pool=POOL, norm=SAME),
    problem(1, 3, 9, 8, 4, 3, padding=1, pool=POOL, norm=SAME, order="conv-norm-pool"),
    problem(2, 3, 14, 16, 4, 5, stride=2, pool=POOL, norm=CROSS),
    problem(2, 3, 14, 16, 4, 5, stride=2, pool=POOL, norm=CROSS, rounding="down"),
    problem(1, 4, 12, 8, 6, 4, stride=3, padding=1, groups=2, pool=Pool(2, 1), norm=CrossMapNorm(4, 0.3)),
    problem(1, 6, 9, 14, 6, 2, stride=2, groups=3, pool=Pool(4, 3), norm=SameMapNorm(4, 0.3), rounding="down"),
    problem(1, 2, 13, 7, 3, 3, stride=3, padding=1, pool=Pool(2, 2), norm=CrossMapNorm(9, 0.3), order="conv-norm-pool"),
    problem(1, 3, 16, 12, 4, 11, stride=4, pool=POOL),
    problem(1, 3, 9, 8, 4, 3, padding=1, pool=AVERAGE, norm=CROSS),
    problem(1, 3, 9, 8, 4, 3, padding=1, pool=AVERAGE, norm=SAME, order="conv-norm-pool-relu"),
    problem(2, 3, 9, 8, 4, 3, padding=1, pool=POOL, norm=CROSS, order="conv-norm-pool-relu"),
    problem(1, 3, 13, 8, 4, 3, padding=1, pool=AVERAGE, norm=CROSS, order="conv-pool-norm-relu", rounding="down"),
    problem(1, 3, 7, 8, 4, 3, norm=CROSS, order="conv-norm-pool-relu"),
    problem(1, 3, 7, 8, 4, 3, order="conv-norm-pool-relu"),
]


def preset_problems(side: int = 40, dtype=torch.float32) -> list[BlockParams]:
    """Every distinct block of every preset in both geometries, on planes of about `side` pixels instead of 224."""
    found: dict[str, BlockParams] = {}
    for name in networks.preset_names():
        for geometry in networks.GEOMETRIES:
            for column in networks.preset(name, geometry).columns:
                if not isinstance(column, networks.Column):
                    continue
                channels = column.channels
                for block in column.blocks:
                    extent = side if channels == column.channels else max(block.size + 6, 12)
                    options = BlockOptions.of_spec(block, column.rounding)
                    params = BlockParams(1, channels, extent, extent - 3, block.filters, block.size, options, dtype, dtype)
                    found[str(params)] = params
                    channels = block.filters
    return list(found.values())


def operands(params: BlockParams, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Seeded x, weight and bias of a problem."""
    generator = torch.Generator().manual_seed(seed)
    shapes = (
        (params.images, params.channels, params.height, params.width),
        (params.filters, params.channels // params.options.groups, params.size, params.size),
        (params.filters,),
    )
    x, weight, bias = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    weight *= params.depth**-0.5
    return tuple(tensor.to(params.dtype) for tensor in (x, weight, bias))  # type: ignore[return-value]


def keywords(options: BlockOptions) -> dict:
    """The keyword arguments of ops.block."""
    return {name: getattr(options, name) for name in BlockOptions.__dataclass_fields__}


def typed(params: BlockParams, dtype: torch.dtype, source: torch.dtype | None = None, **options) -> BlockParams:
    """The problem with weights and result in `dtype`, x in `dtype` or `source`, and some options changed."""
    return changed(replace(params, dtype=source or dtype, weight_dtype=dtype, out_dtype=dtype), **options)


def changed(params: BlockParams, **options) -> BlockParams:
    """The problem with some options changed."""
    return replace(params, options=replace(params.options, **options))


def geometry(params: BlockParams) -> dict:
    """The keyword arguments of region.whole and region.of_windows."""
    names = ("stride", "padding", "rounding", "pool")
    return {"size": params.size, **{name: getattr(params.options, name) for name in names}}


def grad_of(params: BlockParams, seed: int = 5) -> torch.Tensor:
    """A seeded gradient of the result."""
    return torch.randn(params.out_shape, generator=torch.Generator().manual_seed(seed)).to(params.out_dtype)


def tied_operands(params: BlockParams, seed: int) -> list[torch.Tensor]:
    """Small integers whose sums are exact in fp32, with many equal outputs."""
    generator = torch.Generator().manual_seed(seed)
    pairs = zip((0, -1, -1), operands(params), strict=True)
    return [torch.randint(low, 2, like.shape, generator=generator).to(params.dtype) for low, like in pairs]


def error_of(result: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest error relative to the largest magnitude; NaN counts as infinite."""
    error = (result.double() - expected.double()).abs().nan_to_num(torch.inf).max()
    return float(error / max(float(expected.abs().max()), 1e-30))


def errors_of(found, expected) -> list[float]:
    """The largest errors of gradients, each relative to the largest magnitude or a thousandth; NaN counts as infinite."""
    return [
        float((mine.double() - theirs).abs().nan_to_num(torch.inf).max() / theirs.abs().max().clamp_min(1e-3))
        for mine, theirs in zip(found, expected, strict=True)
    ]


def require_gradients(found, expected, tolerances) -> None:
    """Assert that the gradients of x, weight and bias are within their tolerances."""
    for name, error, tolerance in zip(("x", "weight", "bias"), errors_of(found, expected), tolerances, strict=True):
        assert error <= tolerance, f"gradient of {name}: {error:.2e} > {tolerance:.2e}"


def runnable(params: BlockParams, device: str = "cpu") -> list[str]:
    """The backends that run the problem here."""
    return [name for name, backend in BACKENDS.items() if backend.can_run(params, torch.device(device)) is None]


def run_by(backend, sources, table, weight, bias, params, mean, scale, outputs):
    """One backend's results of regions, written to `outputs`."""
    prepared = BACKENDS[backend].prepare(params, Operands(weight, bias, mean, scale))
    prepared.run(Work(sources, table, outputs))


def stated(x, weight, bias, params):
    """The reference's result."""
    return BACKENDS["reference"].forward(params, Operands(weight, bias), x)


def training_by(backend, x, weight, bias, params):
    """One backend's result, values and hits."""
    made = BACKENDS[backend].training(params, Operands(weight, bias), x)
    return made.result, made.values, made.hits


def gradients_by(backend, grad, x, weight, bias, values, hits, params, needs=(True, True, True)):
    """One backend's gradients of x, weight and bias."""
    made = BACKENDS[backend].backward(params, Operands(weight, bias), x, Saved(values, hits), grad, Needs(*needs))
    return made.x, made.weight, made.bias
