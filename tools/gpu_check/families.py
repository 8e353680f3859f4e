"""One launch, or a few, of every family of kernels, judged by the reference in float64; those in CUDA C++ first.

`python -m tools.gpu_check.families NAME...` runs some of them, for a profiler or a sanitizer that starts the program itself.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from dcnn_fast import ops
from dcnn_fast.networks import CrossMapNorm, Pool
from dcnn_fast.ops import views
from dcnn_fast.ops.block import BACKENDS, BlockOptions, BlockParams
from dcnn_fast.ops.block.backend import Needs, Operands, Saved, Work
from dcnn_fast.ops.block.triton import backward_launch
from dcnn_fast.ops.block.triton.conv_gradient import Way
from dcnn_fast.ops.block.whole import whole_images
from dcnn_fast.ops.precision import Precision
from tools.gpu_check.stage import Finding, Piece, Setting

FORCED = "DCNN_FAST_BACKEND"
_BLOCK = BlockOptions(padding=1, pool=Pool(3, 2), norm=CrossMapNorm(5, 0.3))
_TYPES: Mapping[str, tuple[torch.dtype, Precision]] = {
    "fp16": (torch.float16, "ieee"), "bf16": (torch.bfloat16, "ieee"), "tf32": (torch.float32, "tf32"),
    "fp32": (torch.float32, "ieee"),
}  # fmt: skip


@dataclass(frozen=True)
class Judged:
    """error: the largest, relative to the largest value. allowed: its limit."""

    error: float
    allowed: float

    @property
    def passed(self) -> bool:
        """Whether the error is within its limit; NaN is not."""
        return self.error <= self.allowed


Case = Callable[[torch.device], Judged]


def _seeded(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def _judged(found: Tensor, expected: Tensor, allowed: float) -> Judged:
    largest = max(float(expected.abs().max()), 1e-30)
    return Judged(float((found.cpu().double() - expected).abs().max()) / largest, allowed)


def block_params(name: str, *, bytes_: bool = False, filters: int = 16) -> BlockParams:
    """A small block with the named type, on pixels or on 16 maps; 64 filters fill a warp group."""
    dtype, precision = _TYPES[name]
    source, channels = (torch.uint8, 3) if bytes_ else (dtype, 16)
    options = replace(_BLOCK, precision=precision)
    return BlockParams(1, channels, 19, 23, filters, 3, options, source, dtype, weight_dtype=dtype)


def _operands(params: BlockParams) -> tuple[Tensor, Operands]:
    weight = (_seeded(params.filters, params.channels, params.size, params.size, seed=1) * params.depth**-0.5).to(
        params.weight_dtype
    )
    shape = params.images, params.channels, params.height, params.width
    if params.dtype == torch.uint8:
        x = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        mean: tuple[float, ...] = (120.5, 110.0, 100.0)
    else:
        x, mean = _seeded(*shape, dtype=params.dtype), ()
    scale = 1 / 64 if mean else 1.0
    x = x.contiguous(memory_format=torch.channels_last)
    return x, Operands(weight, _seeded(params.filters, dtype=params.weight_dtype, seed=2), mean, scale)


def _wide(params: BlockParams, x: Tensor, operands: Operands) -> tuple[BlockParams, Tensor, Operands]:
    """The same problem in float64, without a mean to subtract."""
    mean = torch.tensor(operands.mean or [0.0] * params.channels, dtype=torch.float64).view(-1, 1, 1)
    options = replace(params.options, precision="ieee")
    wide = replace(params, options=options, dtype=torch.float64, out_dtype=torch.float64, weight_dtype=torch.float64)
    assert operands.bias is not None
    return wide, (x.double() - mean) * operands.scale, Operands(operands.weight.double(), operands.bias.double())


def _there(operands: Operands, device: torch.device) -> Operands:
    bias = None if operands.bias is None else operands.bias.to(device)
    return replace(operands, weight=operands.weight.to(device), bias=bias)


def block_forward(backend: str, params: BlockParams, device: torch.device) -> Judged:
    """The block on whole images by one backend."""
    x, operands = _operands(params)
    out = torch.full(params.out_shape, torch.nan, dtype=params.out_dtype, device=device)
    out = out.contiguous(memory_format=torch.channels_last)
    prepared = BACKENDS[backend].prepare(params, _there(operands, device))
    prepared.run(Work([x.to(device)], whole_images(params), [out]))
    wide, exact, theirs = _wide(params, x, operands)
    expected = BACKENDS["reference"].forward(wide, theirs, exact)
    return _judged(out, expected, params.tolerance(torch.bfloat16 if params.options.precision == "tf32" else None))


def _block_backward(name: str, way: Way, device: torch.device) -> Judged:
    params = block_params(name)
    x, operands = _operands(params)
    grad = _seeded(*params.out_shape, dtype=params.out_dtype, seed=3).contiguous(memory_format=torch.channels_last)
    ours, theirs = BACKENDS["triton"], BACKENDS["reference"]
    there, on_device = _there(operands, device), x.to(device)
    made = ours.training(params, there, on_device)
    kept, everything = Saved(made.values, made.hits), Needs(True, True, True)
    found = backward_launch.gradients(params, there, on_device, kept, grad.to(device), everything, way)
    wide, exact, exactly = _wide(params, x, operands)
    right = theirs.training(wide, exactly, exact)
    # The pool window's maximum is the forward's: gradients follow the stored hits.
    saved = Saved(None if right.values is None else right.values, None if made.hits is None else made.hits.cpu())
    expected = theirs.backward(wide, exactly, exact, saved, grad.double(), everything)
    judged = [
        _judged(each, other, 8 * params.tolerance())
        for each, other in zip((found.x, found.weight, found.bias), (expected.x, expected.weight, expected.bias), strict=True)
        if each is not None and other is not None
    ]
    return max(judged, key=lambda each: each.error)


@contextmanager
def _forced(backend: str) -> Iterator[None]:
    before = os.environ.get(FORCED)
    os.environ[FORCED] = backend
    try:
        yield
    finally:
        if before is None:
            del os.environ[FORCED]
        else:
            os.environ[FORCED] = before


def _views(view: str, device: torch.device) -> Judged:
    photo = torch.randint(0, 256, (61, 83, 3), generator=torch.Generator().manual_seed(4), dtype=torch.uint8)
    (found,) = views.planes([photo.to(device)], view, size=32)  # type: ignore[arg-type]
    expected = torch.from_numpy(views.plane(photo.numpy(), view, 32).pixels)  # type: ignore[arg-type]
    return Judged(float((found[:3].permute(1, 2, 0).cpu().int() - expected.int()).abs().max()), 1.0)


def _linear(device: torch.device) -> Judged:
    x, weight, bias = _seeded(5, 96), _seeded(24, 96, seed=1), _seeded(24, seed=2)
    halves = [each.half() for each in (x, weight, bias)]
    with _forced("triton"), torch.no_grad():
        found = ops.linear(*(each.to(device) for each in halves), relu=True)
    x, weight, bias = (each.double() for each in halves)
    return _judged(found, (x @ weight.T + bias).relu(), 2**-9)


def _head(device: torch.device) -> Judged:
    operands = [_seeded(6, 40), _seeded(12, 40, seed=1) * 0.1, _seeded(12, seed=2), _seeded(2, 12, seed=3), _seeded(2, seed=4)]
    x, weight, bias, label_weight, label_bias = (each.float() for each in operands)
    with _forced("triton"), torch.no_grad():
        there = (each.to(device) for each in (x, weight, bias, label_weight, label_bias))
        x_there, w_there, b_there, lw_there, lb_there = there
        found = ops.head([x_there], [w_there], [b_there], lw_there, lb_there, [6])[0]
    logits = (x.double() @ weight.double().T + bias.double()).relu() @ label_weight.double().T + label_bias.double()
    return _judged(found, logits.softmax(1), 1e-5)


def _update(device: torch.device) -> Judged:
    start = [_seeded(300, seed=seed).float() for seed in range(3)]
    parameter, gradient, increment = (each.to(device, copy=True) for each in start)
    with _forced("triton"):
        ops.update([parameter], [gradient], [increment], rates=[0.01], momenta=[0.9], decays=[0.5])
    w, g, step = (each.double() for each in start)
    return _judged(parameter, w + 0.9 * step - 0.01 * g - 0.005 * w, 1e-6)


def _mbconv(device: torch.device) -> Judged:
    e, f, k = 32, 16, 3
    shapes = ((e, 16), (e,), (e, k, k), (e,), (f, e), (f,))
    drawn = [(_seeded(*shape, seed=seed) * 0.3).float() for seed, shape in enumerate(shapes)]
    x = _seeded(1, 16, 9, 7, seed=9).float().contiguous(memory_format=torch.channels_last)

    def by(backend: str, where: torch.device, dtype: torch.dtype) -> Tensor:
        a, b, c, d, g, h = (each.to(where, dtype) for each in drawn)
        with _forced(backend), torch.no_grad():
            return ops.mbconv(x.to(where, dtype), ops.MbConvWeights((a, b), (c, d), (g, h)), residual=True)

    return _judged(by("triton", device, torch.float32), by("reference", torch.device("cpu"), torch.float64), 1e-5)


def cases() -> dict[str, Case]:
    """Every family by name, CUDA C++ first."""
    found: dict[str, Case] = {f"cuda views {view}": partial(_views, view) for view in ("warp", "local")}
    for name in ("fp16", "bf16"):
        found[f"cuda block {name}"] = partial(block_forward, "cuda", block_params(name))
        found[f"cuda block {name} of 64 filters"] = partial(block_forward, "cuda", block_params(name, filters=64))
        found[f"cuda block {name} from bytes"] = partial(block_forward, "cuda", block_params(name, bytes_=True))
    for name in _TYPES:
        found[f"triton block {name}"] = partial(block_forward, "triton", block_params(name))
    found["triton block fp16 from bytes"] = partial(block_forward, "triton", block_params("fp16", bytes_=True))
    for name in ("fp32", "fp16"):
        found[f"triton block {name} backward"] = partial(_block_backward, name, "hits")
        found[f"triton block {name} backward in memory"] = partial(_block_backward, name, "memory")
    return {**found, "triton linear": _linear, "triton head": _head, "triton update": _update, "triton mbconv": _mbconv}


def run(setting: Setting, names: Sequence[str] = ()) -> Iterator[Finding]:
    """names: the families to run; all if empty."""
    all_cases = cases()
    for name in names or all_cases:
        try:
            with setting.kernels() as launches:
                judged = all_cases[name](setting.where)
                setting.wait()
        except Exception as error:
            yield Finding(name, False, f"{type(error).__name__}: {error}")
            if not setting.simulated:
                raise  # the context may be lost, so later results would be meaningless
            continue
        values = {"error": judged.error, "allowed": judged.allowed, "launches": len(launches) if launches else None}
        yield Finding(name, judged.passed, f"{judged.error:.1e} of the largest value, {judged.allowed:.1e} are allowed", values)


def works(setting: Setting) -> list[Piece]:
    """Stage 2 in pieces."""
    return [Piece(name, partial(run, names=[name])) for name in cases()]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", choices=list(cases()), metavar="NAME", help="a family of kernels")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, or sim for the PTX simulator")
    options = parser.parse_args()
    wrong = [each for each in run(Setting(options.device, Path()), options.names) if not each.passed]
    for each in wrong:
        sys.stderr.write(f"{each.name}: {each.said}\n")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
