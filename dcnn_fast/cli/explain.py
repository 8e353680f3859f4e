"""`dcnn-fast explain`: which backend runs each operation of a network, and why the others don't."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dcnn_fast.cli.console import fail, stdout
from dcnn_fast.cli.describe import LayerFiles, LayerParams, Plane, Window, network_named
from dcnn_fast.cli.options import takes

if TYPE_CHECKING:
    from dcnn_fast.ops.backend import Answer, Backend
    from dcnn_fast.ops.precision import Precision

_WHY_NO_BLOCK = "a block is a convolution with biases of maps, a relu, a pool and a response norm"
_PHOTOGRAPH = 768, 1024  # height and width in pixels of the photograph whose view is explained


@dataclass(frozen=True, kw_only=True)
class ExplainOptions:
    """The command line of `dcnn-fast explain`."""

    name: Annotated[str, typer.Argument(help="A preset, a model file or cuda-convnet's layer-definition file, .cfg.")] = "dcnn"
    geometry: Annotated[str, typer.Option(help="Geometry of a preset: convnet or valid.")] = "convnet"
    device: Annotated[str, typer.Option(help="The device to ask for, e.g. cpu or cuda:0.")] = "cpu"
    layer_params: LayerParams = None
    plane: Plane = None
    window: Window = None
    dtype: Annotated[str, typer.Option(help="Format of weights and of the layers' outputs: float32, float16 or bfloat16.")] = (
        "float32"
    )

    @property
    def layer_files(self) -> LayerFiles:
        """The options that belong to a layer-definition file."""
        return LayerFiles(self.layer_params, self.plane, self.window)


@takes(ExplainOptions)
def explain(options: ExplainOptions) -> None:
    """Print the backend that would make each column's view and run each layer, the head and a training update of a network,
    and every other backend's reason for refusing.
    """
    import torch  # noqa: PLC0415 - keeps `dcnn-fast --help` fast

    from dcnn_fast import engine, networks  # noqa: PLC0415
    from dcnn_fast import plan as plans  # noqa: PLC0415
    from dcnn_fast.ops import backend as choice  # noqa: PLC0415
    from dcnn_fast.ops.block.triton import conv_gradient  # noqa: PLC0415

    try:
        network = network_named(options.name, options.geometry, options.layer_files)
        where, dtype = torch.device(options.device), options.dtype
        if dtype not in ("float32", "float16", "bfloat16"):
            raise ValueError(f"dtype must be one of float32, float16, bfloat16; got {dtype!r}")
        forced, about = choice.forced_backend(), engine.describe()
        conv_gradient.asked()
    except (ValueError, RuntimeError, OSError) as error:
        fail(str(error))
    out = stdout()
    out.print(f"C++ engine: {about}")
    for isa, why in engine.refusals().items():
        out.print(f"  not {isa}: {why}")
    if brute := plans.reason():
        out.print(f"plans: {brute}")
    if forced:
        out.print(f"{choice.BACKEND_VARIABLE}={forced} forces one backend in every operation that has it")
    for key, column in zip(network.column_keys(), network.columns, strict=True):
        out.print(f"column {key}")
        for problem, backends in _problems(column, getattr(torch, dtype)):
            _print_choice(str(problem), choice.explain(backends, problem, where), forced)
        if isinstance(column, networks.GraphColumn):
            _print_single_layers(column)
    out.print("all columns together")
    for what, problem, backends in _of_network(network, where, getattr(torch, dtype)):
        _print_choice(f"{what}: {problem}", choice.explain(backends, problem, where), forced)


def _problems(column: Any, dtype: Any) -> list[tuple[Any, Mapping[str, Backend[Any]]]]:
    """The problems of the view, of every layer but the last (which belongs to the head) and of the blocks' gradients, each
    with the backends that may run it.
    """
    import torch  # noqa: PLC0415

    from dcnn_fast import networks  # noqa: PLC0415
    from dcnn_fast.nets.backbone import params_of  # noqa: PLC0415
    from dcnn_fast.ops.backbone import BACKENDS as backbone_backends  # noqa: N811, PLC0415
    from dcnn_fast.ops.block import BACKENDS as block_backends  # noqa: N811, PLC0415
    from dcnn_fast.ops.block.params import problems_of as block_problems  # noqa: PLC0415
    from dcnn_fast.ops.linear import BACKENDS as linear_backends  # noqa: N811, PLC0415
    from dcnn_fast.ops.linear.params import problems_of as linear_problems  # noqa: PLC0415
    from dcnn_fast.ops.views import BACKENDS as view_backends  # noqa: N811, PLC0415
    from dcnn_fast.ops.views import ViewParams  # noqa: PLC0415
    from dcnn_fast.ops.views.cuts import Cut, CutList  # noqa: PLC0415

    view = ViewParams(*_PHOTOGRAPH, column.view, column.plane)
    found: list[tuple[Any, Mapping[str, Backend[Any]]]] = [(CutList((Cut(0, view, 0, 0, *view.shape),)), view_backends)]
    if isinstance(column, networks.GraphColumn):
        return found + [(problem, block_backends) for problem in _fused_problems(column, dtype)]
    layers = [(replace(problem, dtype=dtype), linear_backends) for problem in linear_problems(column)[:-1]]
    if isinstance(column, networks.BackboneColumn):
        precision: Precision = "ieee" if dtype == torch.float32 else "bf16"
        return [*found, (params_of(column.lite, column.stages, precision, column.window), backbone_backends), *layers]
    trained = [replace(each, dtype=dtype, weight_dtype=dtype, out_dtype=dtype) for each in block_problems(column)]
    blocks = [replace(trained[0], dtype=torch.uint8), *trained[1:]] if dtype != torch.float32 else trained
    found += [(problem, block_backends) for problem in blocks]
    found += [(problem.gradient(), block_backends) for problem in trained]
    return found + layers


def _fused_problems(column: Any, dtype: Any) -> list[Any]:
    """The problems of single layers that are fused into blocks, and of their gradients."""
    from dcnn_fast.nets.graph import fused_layers  # noqa: PLC0415
    from dcnn_fast.ops.block.params import BlockOptions, BlockParams  # noqa: PLC0415

    shapes, problems = column.shapes(), []
    for each in fused_layers(column):
        channels, side, _ = shapes[column.layers[each.conv].inputs[0]]
        block = each.block
        options = BlockOptions(
            block.stride, block.padding, block.groups, "up", block.pool, block.norm, block.order, "all", "ieee"
        )  # fmt: skip
        problems.append(
            BlockParams(1, channels, side, side, block.filters, block.size, options, dtype, dtype, weight_dtype=dtype)
        )
    return [*problems, *(problem.gradient() for problem in problems)]


def _print_single_layers(column: Any) -> None:
    """Print the layers that are not fused into blocks, and who computes them."""
    from dcnn_fast import networks  # noqa: PLC0415
    from dcnn_fast.nets.graph import fused_layers  # noqa: PLC0415

    inside = {number for each in fused_layers(column) for number in range(each.conv + 1, each.last + 1)}
    out = stdout()
    for number, layer in enumerate(networks.column_costs(column), 1):
        if number not in inside:
            out.print(f"  {layer.name}, {layer.what}: reference")
            out.print(f"    not cuda, triton, cpu: {_WHY_NO_BLOCK}")


def _of_network(network: Any, where: Any, dtype: Any) -> list[tuple[str, Any, Mapping[str, Backend[Any]]]]:
    """Name, problem and backends of the operations that all columns share: the head for one photograph's 50 samples, and a
    training update.

    Parameters are in float32 whatever format a training step multiplies in.
    """
    import torch  # noqa: PLC0415

    from dcnn_fast import networks  # noqa: PLC0415
    from dcnn_fast.nets import MultiColumn  # noqa: PLC0415
    from dcnn_fast.ops.head import BACKENDS as head_backends  # noqa: N811, PLC0415
    from dcnn_fast.ops.update import BACKENDS as update_backends  # noqa: N811, PLC0415
    from dcnn_fast.ops.update import UpdateParams  # noqa: PLC0415
    from dcnn_fast.runtime import head_problem  # noqa: PLC0415

    with torch.device("meta"):
        net = MultiColumn(network)
    update = UpdateParams(tuple(parameter.numel() for parameter in net.parameters() if parameter.requires_grad))
    found: list[tuple[str, Any, Mapping[str, Backend[Any]]]] = [("update", update, update_backends)]
    if any(isinstance(column, networks.GraphColumn) for column in network.columns):
        return found  # their head is only the label layer
    return [("head", head_problem(network, where, dtype), head_backends), *found]


def _print_choice(problem: str, answers: list[Answer], forced: str | None) -> None:
    out = stdout()
    lacking = forced is not None and forced not in {answer.backend for answer in answers}
    forced = None if lacking else forced
    reasons = {answer.backend: answer.refusal or (None if forced else answer.outpaced) for answer in answers}
    willing = [backend for backend, reason in reasons.items() if reason is None and forced in (None, backend)]
    kernel = next((f", {answer.kernel}" for answer in answers if answer.kernel and answer.backend in willing[:1]), "")
    out.print(f"  {problem}: {willing[0] if willing else 'none'}{kernel}")
    for answer in answers:
        if answer.remark is not None and answer.backend in willing[:1]:
            out.print(f"    {answer.remark}")
    if lacking:
        out.print("    it does not have the forced backend and chooses for itself")
    for backend, reason in reasons.items():
        if reason is not None:
            out.print(f"    not {backend}: {reason}")
