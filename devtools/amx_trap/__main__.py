"""Runs the compiled AMX kernels (csrc/cpu/isa_amx.cpp) without AMX hardware, and compares them with amx_emulated bit for bit.

    python -m devtools.amx_trap [pytest's arguments]

Builds the engine again, with its usual flags, together with an illegal-instruction handler that executes AMX in software. With
arguments it then runs those tests with that engine, which offers AMX as an instruction set: `tests/ops -k amx`. Needs Linux on
a processor with AVX-512, and pip to build.
"""

from __future__ import annotations

import ctypes
import importlib.util
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
INSTRUCTIONS = ("LDTILECFG", "TILERELEASE", "TILEZERO", "TILELOADD", "TILESTORED", "TDPBF16PS")


def build(target: Path) -> Path:
    """The engine's module with the trap."""
    hook = f"cmake.define.CMAKE_PROJECT_dcnn_fast_INCLUDE={HERE / 'trap.cmake'}"
    command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--target", target]
    subprocess.run([*map(str, command), "-C", hook, str(HERE.parents[1])], check=True)
    return next((target / "dcnn_fast").glob("_engine*.so"))


def use(path: Path) -> None:
    """Make that module the package's engine."""
    spec = importlib.util.spec_from_file_location("dcnn_fast._engine", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules["dcnn_fast._engine"] = module


def compare() -> None:
    """Compare blocks of each kind, products and inverted residual blocks on both; raises AssertionError where a bit differs."""
    from dcnn_fast import engine  # noqa: PLC0415 - only with the engine that `use` names
    from dcnn_fast.networks import CrossMapNorm, Pool  # noqa: PLC0415
    from dcnn_fast.ops.block import BlockOptions, BlockParams, cpu  # noqa: PLC0415
    from dcnn_fast.ops.linear import LinearParams  # noqa: PLC0415
    from dcnn_fast.ops.linear import cpu as linear  # noqa: PLC0415
    from dcnn_fast.ops.mbconv import MbConvParams, MbConvWeights  # noqa: PLC0415
    from dcnn_fast.ops.mbconv import cpu as mbconv  # noqa: PLC0415
    from dcnn_fast.ops.region import whole  # noqa: PLC0415

    generator = torch.Generator().manual_seed(0)
    blocks = (
        (3, 64, 11, 2, 0, 1, 61, 50),
        (64, 64, 5, 1, 2, 1, 27, 27),
        (64, 70, 3, 1, 1, 2, 5, 33),
        (9, 5, 4, 1, 1, 1, 40, 3),
    )
    for (channels, filters, size, stride, padding, groups, rows, cols), precision in product(blocks, ("bf16", "bf16x3")):
        options = BlockOptions(
            stride, padding, groups, pool=Pool(2, 2), norm=CrossMapNorm(5, 0.3), precision=precision,  # type: ignore[arg-type]
        )  # fmt: skip
        params = BlockParams(2, channels, rows, cols, filters, size, options)
        x = torch.randn(2, channels, rows, cols, generator=generator)
        weight = torch.randn(filters, channels // groups, size, size, generator=generator) / size
        bias = torch.randn(filters, generator=generator)
        table = whole(2, rows, cols, size=size, stride=stride, padding=padding, rounding="up", pool=options.pool)
        results = [torch.full(params.out_shape, torch.nan).contiguous(memory_format=torch.channels_last) for _ in range(2)]
        for isa, result in zip(("amx", "amx_emulated"), results, strict=True):
            cpu.run(isa, [x], table, weight, bias, params, (), 1.0, [result], 2)
        assert torch.equal(*results), params
        print(f"equal: {params}")
    for rows, inputs, outputs in ((50, 4100, 100), (130, 33, 7), (1, 64, 48)):
        x, weight = torch.randn(rows, inputs, generator=generator), torch.randn(outputs, inputs, generator=generator).bfloat16()
        bias = torch.randn(outputs, generator=generator)
        problem = LinearParams(rows, inputs, outputs, precision="bf16")
        results = [torch.full((rows, outputs), torch.nan) for _ in range(2)]
        for isa, result in zip(("amx", "amx_emulated"), results, strict=True):
            linear.run(isa, x, weight, bias, problem, result, 2)
        assert torch.equal(*results), problem
        print(f"equal: product of {rows} x {inputs} with {outputs} outputs, bf16")
    for residual in (
        MbConvParams(2, 24, 28, 27, 144, 24, 5, residual=True, precision="bf16"),
        MbConvParams(1, 16, 33, 40, 96, 70, 3, stride=2, precision="bf16"),
        MbConvParams(1, 35, 7, 7, 35, 20, 3, expands=False, precision="bf16"),
    ):
        c, e, f, k = residual.channels, residual.expanded, residual.filters, residual.size
        shapes = ((e, c), (e,), (e, k, k), (e,), (f, e), (f,))
        drawn = [torch.randn(shape, generator=generator) / shape[-1] ** 0.5 for shape in shapes]
        expand = (drawn[0], drawn[1]) if residual.expands else None
        weights = MbConvWeights(expand, (drawn[2], drawn[3]), (drawn[4], drawn[5]))
        x = torch.randn(residual.images, c, residual.height, residual.width, generator=generator)
        x = x.contiguous(memory_format=torch.channels_last)
        made = (residual.images, f, residual.out_height, residual.out_width)
        results = [torch.full(made, torch.nan).contiguous(memory_format=torch.channels_last) for _ in range(2)]
        for isa, result in zip(("amx", "amx_emulated"), results, strict=True):
            packed = mbconv.packed(isa, residual, weights)
            engine.native.mbconv(packed, x=engine.array_of(x), out=engine.array_of(result), threads=2)
        assert torch.equal(*results), residual
        print(f"equal: {residual}")


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = build(Path(folder))
        use(path)
        if sys.argv[1:]:
            import pytest  # noqa: PLC0415

            status = int(pytest.main(["-p", "no:faulthandler", *sys.argv[1:]]))  # which would catch the signal
        else:
            compare()
            status = 0
        counts = (ctypes.c_int64 * len(INSTRUCTIONS))()
        ctypes.CDLL(str(path)).amx_trap_counts(counts)
        print(", ".join(f"{name} {count:,}" for name, count in zip(INSTRUCTIONS, counts, strict=True)))
    return status


if __name__ == "__main__":
    sys.exit(main())
