"""`dcnn-fast explain`: which backend runs each operation of a network, and why the others don't."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import typer

from dcnn_fast.cli.console import fail, stdout
from dcnn_fast.cli.describe import network_named


def explain(
    name: Annotated[str, typer.Argument(help="A preset or a model file.")] = "dcnn",
    geometry: Annotated[str, typer.Option(help="convnet or valid.")] = "convnet",
    device: Annotated[str, typer.Option(help="The device to ask for, e.g. cpu or cuda:0.")] = "cpu",
    dtype: Annotated[str, typer.Option(help="float32, float16 or bfloat16: of weights and what layers leave.")] = "float32",
) -> None:
    """Print the backend that would run each layer of a network, and every other backend's reason for refusing."""
    import torch  # noqa: PLC0415 - keeps `dcnn-fast --help` fast

    from dcnn_fast import engine  # noqa: PLC0415
    from dcnn_fast.ops import dispatch  # noqa: PLC0415

    try:
        network, where = network_named(name, geometry), torch.device(device)
        if dtype not in ("float32", "float16", "bfloat16"):
            raise ValueError(f"dtype must be one of float32, float16, bfloat16; got {dtype!r}")
        forced, about = dispatch.forced_backend(), engine.describe()
    except (ValueError, RuntimeError) as error:
        fail(str(error))
    out = stdout()
    out.print(f"C++ engine: {about}", markup=False)
    for isa, why in engine.refusals().items():
        out.print(f"  not {isa}: {why}", markup=False)
    if forced:
        out.print(f"{dispatch.BACKEND_VARIABLE}={forced} forces one backend")
    for key, column in zip(network.column_keys(), network.columns, strict=True):
        out.print(f"column {key}")
        for problem, backends in _problems(column, getattr(torch, dtype)):
            _print_choice(str(problem), dispatch.explain(backends, problem, where), forced)


def _problems(column: Any, dtype: Any) -> list[tuple[Any, dict[str, Any]]]:
    """Every layer's problem and the backends that may run it; the gradient of the blocks too."""
    import torch  # noqa: PLC0415

    from dcnn_fast.ops.block import BACKENDS as block_backends  # noqa: N811, PLC0415
    from dcnn_fast.ops.block.params import problems_of as block_problems  # noqa: PLC0415
    from dcnn_fast.ops.linear import BACKENDS as linear_backends  # noqa: N811, PLC0415
    from dcnn_fast.ops.linear.params import problems_of as linear_problems  # noqa: PLC0415

    trained = [replace(each, dtype=dtype, weight_dtype=dtype, out_dtype=dtype) for each in block_problems(column)]
    blocks = [replace(trained[0], dtype=torch.uint8), *trained[1:]] if dtype != torch.float32 else trained
    found: list[tuple[Any, dict[str, Any]]] = [(problem, block_backends) for problem in blocks]
    found += [(problem.gradient(), block_backends) for problem in trained]
    found += [(replace(problem, dtype=dtype), linear_backends) for problem in linear_problems(column)]
    return found


def _print_choice(problem: str, answers: list[Any], forced: str | None) -> None:
    out = stdout()
    reasons = {answer.backend: answer.refusal or (None if forced else answer.outpaced) for answer in answers}
    willing = [backend for backend, reason in reasons.items() if reason is None and forced in (None, backend)]
    out.print(f"  {problem}: {willing[0] if willing else 'none'}", markup=False)
    for backend, reason in reasons.items():
        if reason is not None:
            out.print(f"    not {backend}: {reason}", markup=False)
