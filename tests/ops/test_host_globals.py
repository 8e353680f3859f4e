"""torch's process-wide settings (default dtype, default device, autocast) change no bit of any operation."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from dcnn_fast import ops
from dcnn_fast.nets import build
from dcnn_fast.networks import CrossMapNorm, Pool, SameMapNorm
from dcnn_fast.ops import backbone, views
from dcnn_fast.ops.block import BlockOptions, column_blocks, params_of
from dcnn_fast.ops.block.backend import Operands
from dcnn_fast.ops.region import of_windows
from tests import small
from tests.ops.backbone.problems import TINY, backbone_weights
from tests.ops.on_cpu import kernels_on_cpu


def _drawn(*shape, seed=0, dtype=torch.float32):
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu").to(dtype)


def _bytes(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8))


X, WEIGHT, BIAS = _drawn(2, 4, 11, 10), _drawn(6, 2, 3, 3, seed=1), _drawn(6, seed=2)
PICTURE, LAYERS = _bytes(40, 50, 3), backbone_weights(TINY)
BLOCKS = {
    "plain": {"padding": 1},
    "pool": {"padding": 1, "pool": Pool(3, 2)},
    "norm": {"norm": SameMapNorm(3, 0.1)},
    "pool and norm": {"stride": 2, "pool": Pool(3, 2), "norm": CrossMapNorm(5, 0.1)},
    "norm and pool": {"pool": Pool(3, 2), "norm": CrossMapNorm(5, 0.1), "order": "conv-norm-pool"},
    "large pool": {"padding": 1, "pool": Pool(5, 3)},
}


def _block(options, x=X, dtype=torch.float32):
    """The result and every gradient."""
    pixels = x.dtype == torch.uint8
    given = [
        tensor.detach().clone() if tensor.dtype == torch.uint8 else tensor.detach().to(dtype) for tensor in (x, WEIGHT, BIAS)
    ]
    operands = [tensor if tensor.dtype == torch.uint8 else tensor.clone().requires_grad_() for tensor in given]
    mean = {"mean": (1.0, 2.0, 3.0, 4.0), "scale": 0.01} if pixels else {}
    with torch.no_grad():
        alone = ops.block(*operands, groups=2, **options, **mean)
    result = ops.block(*operands, groups=2, **options, **mean)
    result.backward(_drawn(*result.shape, seed=3, dtype=dtype))
    return alone, result.detach(), *(tensor.grad for tensor in operands if tensor.requires_grad)


def _regions(dtype=torch.float32):
    table = of_windows(
        torch.from_numpy(np.array([[0, 0, 0], [1, 2, 1], [1, 3, 2]])),
        8,
        8,
        size=3,
        stride=1,
        padding=1,
        rounding="up",
        pool=Pool(),
    )
    return ops.block_regions([X.to(dtype)], table, WEIGHT.to(dtype), BIAS.to(dtype), groups=2, padding=1, pool=Pool())


def _column():
    table = of_windows(
        torch.from_numpy(np.zeros((1, 3), np.int64)), 11, 10, size=3, stride=1, padding=0, rounding="up", pool=None
    )
    params = params_of(X[:1], WEIGHT, BlockOptions(groups=2))
    return (column_blocks([params], [Operands(WEIGHT, BIAS)], X[:1], [table]),)


def _gradient_of(operation, *arguments):
    x = X.detach().clone().requires_grad_()
    result = operation(x, *arguments)
    result.backward(_drawn(*result.shape, seed=4))
    return result.detach(), x.grad


def _update(dtype=torch.float32):
    wide = torch.promote_types(dtype, torch.float32)
    parameter, gradient, increment = _drawn(5, 4).to(dtype), _drawn(5, 4, seed=1).to(dtype), _drawn(5, 4, seed=2).to(wide)
    given = [parameter.clone()], [gradient.t().contiguous().t()], [increment.clone()]
    ops.update(*given, rates=[0.1], momenta=[0.9], decays=[0.01])
    return given[0][0], given[2][0]


def _mbconv(precision="ieee"):
    weights = ops.MbConvWeights(
        (_drawn(9, 4, seed=1), _drawn(9, seed=2)), (_drawn(9, 3, 3, seed=3), _drawn(9, seed=4)),
        (_drawn(4, 9, seed=5), _drawn(4, seed=6)),
    )  # fmt: skip
    return (ops.mbconv(X, weights, residual=True, precision=precision),)


def _head(out_dtype=torch.float64):
    return ops.head(
        [_drawn(3, 5)], [_drawn(4, 5, seed=1)], [_drawn(4, seed=2)], _drawn(2, 4, seed=3), _drawn(2, seed=4), [2, 2],
        window_of=[torch.from_numpy(np.array([0, 2, 1, 2]))], out_dtype=out_dtype,
    )  # fmt: skip


def _backbone():
    return (backbone.prepare(TINY, LAYERS, "cpu").features(_bytes(2, 3, 31, 42)),)


def _views():
    plane = views.plane(PICTURE.numpy(), "warp", 32).pixels
    windows = views.draw_windows("digest", 3, "warp:0", 5, view="warp", plane_shape=(32, 32), plane=32, window=24)
    return torch.from_numpy(plane), torch.from_numpy(windows), torch.from_numpy(views.cut(plane, windows, 24))


def _planes():
    """Planes and windows of one picture and of none, as bytes and as floats."""
    options = {"size": 32, "mean": (1.0, 2.0, 3.0), "scale": 0.1, "dtype": torch.bfloat16}
    places = [(0, 1, 2, True), (0, 3, 4, False)]
    return (
        *views.planes([PICTURE], "pad", **options), *views.planes([PICTURE], "local", size=32),
        *views.planes([], "warp", size=32),
        views.windows([PICTURE], "warp", places, window=24, **options), views.windows([], "warp", [], size=32, window=24),
    )  # fmt: skip


OPERATIONS = {
    **{f"block, {name}": lambda options=options: _block(options) for name, options in BLOCKS.items()},
    "block of bytes": lambda: _block(BLOCKS["pool and norm"], _bytes(2, 4, 11, 10)),
    "regions": _regions,
    "column": _column,
    "max_pool": lambda: _gradient_of(ops.max_pool, 3, 2),
    "max_pool, first": lambda: _gradient_of(lambda x: ops.max_pool(x, 3, 2, ties="first")),
    "response_norm": lambda: _gradient_of(ops.response_norm, CrossMapNorm(5, 0.1)),
    "response_norm, same map": lambda: _gradient_of(ops.response_norm, SameMapNorm(3, 0.1)),
    "linear": lambda: (ops.linear(_drawn(3, 5), _drawn(4, 5, seed=1), _drawn(4, seed=2), relu=True),),
    "linear in bf16": lambda: (ops.linear(_drawn(3, 5), _drawn(4, 5, seed=1, dtype=torch.bfloat16), _drawn(4, seed=2)),),
    "head": _head,
    "update": _update,
    "update in bf16": lambda: _update(torch.bfloat16),
    "mbconv": _mbconv,
    "mbconv in bf16": lambda: _mbconv("bf16"),
    "backbone": _backbone,
    "views": _views,
    "planes": _planes,
}
# Operations that the C++ engine does not compute.
WIDE_AND_NARROW = {
    f"{name} in {str(dtype).removeprefix('torch.')}": lambda run=run, dtype=dtype: run(dtype)
    for dtype in (torch.float64, torch.bfloat16, torch.float16)
    for name, run in {
        "block": lambda dtype: _block(BLOCKS["pool and norm"], dtype=dtype), "regions": _regions, "update": _update,
    }.items()
}  # fmt: skip


@contextmanager
def _default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def _default_device():
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


SETTINGS = {
    "float64": lambda: _default_dtype(torch.float64),
    "bfloat16": lambda: _default_dtype(torch.bfloat16),
    "float16": lambda: _default_dtype(torch.float16),
    "meta": _default_device,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
}


def _seen(tensors):
    """Everything that a caller can see of tensors, bit for bit."""
    return [
        (
            t.dtype,
            t.device,
            tuple(t.shape),
            t.stride(),
            t.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes(),
        )
        for t in tensors
    ]


def _require_alike(operations):
    expected = {name: _seen(run()) for name, run in operations.items()}
    for setting, inside in SETTINGS.items():
        for name, run in operations.items():
            with inside():
                made = run()
            assert _seen(made) == expected[name], f"{name} under {setting}"


@pytest.mark.needs_engine
def test_the_engine_gives_the_same_bits_under_every_setting(monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", "cpu")
    _require_alike(OPERATIONS)


def test_the_reference_gives_the_same_bits_under_every_setting(monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", "reference")
    _require_alike({**OPERATIONS, **WIDE_AND_NARROW})


def test_triton_gives_the_same_bits_under_every_setting(monkeypatch):
    """The tables and operands that the host prepares, for operations whose simulated kernels compile in seconds."""
    monkeypatch.setenv("DCNN_FAST_BACKEND", "triton")
    with kernels_on_cpu():
        _require_alike({"linear": OPERATIONS["linear"], "head": lambda: _head(None), "update": _update})


def test_a_network_starts_from_the_same_weights_under_every_default_dtype():
    """Weights have the default dtype, as in torch's layers; the drawn values do not depend on it."""
    expected = build(small.network(), seed=3).state_dict()
    with _default_dtype(torch.float64):
        made = build(small.network(), seed=3).state_dict()
    for name, tensor in expected.items():
        assert torch.allclose(made[name].float(), tensor, rtol=1e-6, atol=0), name
