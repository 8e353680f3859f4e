"""Every launch of a GPU kernel that a preset can select: those that the report compiles and the cost model judges."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from dcnn_fast import networks, ops
from dcnn_fast.nets.backbone import backbone_size, backbone_weights, params_of
from dcnn_fast.networks.efficientnet import Lite, lite_stages, lite_window
from dcnn_fast.ops import views
from dcnn_fast.ops.backbone import BACKENDS as BACKBONES
from dcnn_fast.ops.block import BACKENDS
from dcnn_fast.ops.block.backend import Needs, Operands, Work
from dcnn_fast.ops.block.params import BlockParams, problems_of
from dcnn_fast.ops.block.triton import backward_launch, conv_gradient
from dcnn_fast.ops.block.whole import whole_images
from dcnn_fast.ops.gpus import LEAST_CAPABILITY
from dcnn_fast.ops.launch import DEFAULT_CAPABILITY, Launch, launched_by
from dcnn_fast.ops.precision import Precision
from dcnn_fast.ops.views import fixed
from devtools import aot

TYPES: tuple[tuple[torch.dtype, Precision], ...] = (
    (torch.float16, "ieee"), (torch.bfloat16, "ieee"), (torch.float32, "tf32"), (torch.float32, "ieee"),
)  # fmt: skip
LITE: Lite = "lite2"  # the shipped model's variant
PRODUCTS: tuple[Precision, ...] = ("ieee", "bf16")  # precisions of its layers


@dataclass(frozen=True)
class Named:
    """A launch and its problem. tensor: whether its loops must use tensor cores. wide: whether they must load 16 bytes per
    thread.
    """

    problem: str
    launch: Launch
    tensor: bool
    wide: bool


def preset_launches(capability: int) -> Iterator[Named]:
    """One launch of each kernel and configuration over all presets, geometries and types, for a compute capability."""
    seen: set[Any] = set()
    blocks = _of_blocks(capability), _of_cuda_blocks(capability)
    for named in chain(*blocks, _of_backbones(), _of_linears(), _of_heads(), _of_updates(), _of_views(capability)):
        identity = aot.machine_code_of(named.launch)
        if identity not in seen:
            seen.add(identity)
            yield named


def as_compiled(named: Named) -> Named:
    """The launch with tensors without memory, which suffices for a compiler (all presets' tensors fill gigabytes)."""
    launch = named.launch
    args = {name: _without_memory(value) if isinstance(value, Tensor) else value for name, value in launch.args.items()}
    return replace(named, launch=replace(launch, args=args, reads=(), writes=()))


def _without_memory(tensor: Tensor) -> Tensor:
    # The compiler is told which addresses are multiples of 16; a tensor without memory has address 0, which is one.
    return tensor if tensor.data_ptr() % 16 else torch.empty_like(tensor, device="meta")


def _of_blocks(capability: int) -> Iterator[Named]:
    for params in training_problems():
        for problem, launches in (
            (f"score {params}", _scoring(_of_bytes(params), capability)),
            (f"train {params}", _training(params, capability, "hits")),
            (f"train {params} in memory", _training_in_memory(params, capability)),
        ):
            for launch in launches:
                tensor = params.dtype.itemsize == 2 and "OPERAND" in launch.constants
                yield Named(problem, launch, tensor, tensor and params.channels != 3)


def _of_cuda_blocks(capability: int) -> Iterator[Named]:
    """The hand-staged block where it runs; block 1 from bytes and halves, with three and four channels per pixel."""
    for problem in _problems():
        for dtype, precision in TYPES[:2]:
            typed = _typed(problem, dtype, precision)
            for params in dict.fromkeys((typed, _of_bytes(typed))):
                x, operands = scoring_operands(params)
                sources = {"": x}
                if params.channels == 3:
                    sources[" in pixels of 4"] = _last((params.images, 4, params.height, params.width), params.dtype)[:, :3]
                out = _last(params.out_shape, params.out_dtype)
                for layout, source in sources.items():
                    with collected(capability) as found:
                        if BACKENDS["cuda"].can_run(params, x.device) is None:
                            BACKENDS["cuda"].prepare(params, operands).run(Work([source], whole_images(params), [out]))
                    for launch in found:
                        yield Named(f"score {params}{layout} in {dtype}".replace("torch.", ""), launch, True, True)


def scoring_problems(images: int) -> Iterator[BlockParams]:
    """Every distinct block of every preset in every type, block 1 on bytes."""
    for params in training_problems():
        yield _of_bytes(replace(params, images=images))


def training_problems() -> Iterator[BlockParams]:
    """Every distinct block of every preset in every type, one image."""
    for problem in _problems():
        for dtype, precision in TYPES:
            yield _typed(problem, dtype, precision)


def scoring_operands(params: BlockParams) -> tuple[Tensor, Operands]:
    """Source and operands: block 1 subtracts the mean from its bytes."""
    x, operands = _operands(params)
    return x, replace(operands, mean=(1.0,) * params.channels if params.dtype == torch.uint8 else ())


def _of_bytes(params: BlockParams) -> BlockParams:
    return replace(params, dtype=torch.uint8) if params.channels == 3 else params


def _of_backbones() -> Iterator[Named]:
    """An EfficientNet-Lite on one image of its window's size, with the means of all its stages.

    Wide loads are not required: pixels are float32, rounded when loaded, and the first blocks have few channels.
    """
    side, stages = lite_window(LITE), range(len(lite_stages(LITE)))
    zeros = backbone_weights(torch.zeros(backbone_size(LITE)), LITE)
    for precision in PRODUCTS:
        params = params_of(LITE, stages, precision, side)
        with collected() as launches:
            BACKBONES["triton"].prepare(params, zeros).features(_last((1, 3, side, side), torch.uint8))
        problems = params.problems()
        for launch in launches:
            kind, maps = aot.kernel_name(launch), launch.constants["CHANNELS"]
            if kind == "mbconv_kernel":
                problem = str(next(problems))
            elif launch.constants.get("LAYER", True):
                problem = f"{LITE}'s layer of {maps} channels {precision}"
            else:
                problem = f"means of {maps} maps"
            yield Named(problem, launch, precision == "bf16" and launch.constants.get("LAYER", True), wide=False)


def _of_linears() -> Iterator[Named]:
    """Every fully-connected layer before the last, for fifty windows."""
    shapes = {
        pair
        for net in _networks()
        for column in net.columns
        for pair in zip((column.features, *column.fc), column.fc[:-1], strict=False)
    }
    for inputs, outputs in sorted(shapes):
        for dtype, _ in TYPES[:3]:
            x, weight, bias = (torch.empty(shape, dtype=dtype) for shape in ((50, inputs), (outputs, inputs), (outputs,)))
            with collected() as launches, torch.no_grad():
                ops.linear(x, weight, bias, relu=True)
            for launch in launches:
                products = dtype.itemsize == 2 and "BK" in launch.constants
                yield Named(f"linear {inputs}-{outputs} {dtype}".replace("torch.", ""), launch, products, products)


def _of_heads() -> Iterator[Named]:
    """The head for one photograph with fifty samples: each number of columns in a preset, and each number of labels."""
    shapes = {
        (
            tuple(column.fc[-1] for column in net.columns),
            tuple((column.features, *column.fc)[-2] for column in net.columns),
            len(net.labels),
        )
        for net in _networks()
    }
    for outputs, inputs, labels in sorted(shapes):
        for dtype, _ in TYPES[:3]:
            with collected() as launches:
                ops.head(
                    [torch.empty(50, count) for count in inputs],
                    [torch.empty(shape, dtype=dtype) for shape in zip(outputs, inputs, strict=True)],
                    [torch.empty(count) for count in outputs],
                    torch.empty(labels, sum(outputs)),
                    torch.empty(labels),
                    [50],
                )
            for launch in launches:
                yield Named(f"head {inputs}-{outputs}-{labels} {dtype}".replace("torch.", ""), launch, False, False)


def _of_updates() -> Iterator[Named]:
    for dtype, _ in TYPES[:3]:
        step = torch.promote_types(dtype, torch.float32)
        with collected() as launches:
            ops.update(
                [torch.empty(2048, dtype=dtype)], [torch.empty(2048, dtype=dtype)], [torch.empty(2048, dtype=step)],
                rates=[0.001], momenta=[0.9], decays=[0.0005],
            )  # fmt: skip
        for launch in launches:
            yield Named(f"update {dtype}".replace("torch.", ""), launch, False, False)


def _of_views(capability: int) -> Iterator[Named]:
    """The views in CUDA C++ for sm_80 and later; sizes do not change the kernel."""
    for dtype in (torch.uint8, torch.float16, torch.bfloat16):
        with collected(capability) as launches:
            views.planes([torch.zeros(8, 8, 3, dtype=torch.uint8)], "warp", dtype=dtype)
        for launch in launches:
            yield Named(f"views {dtype}".replace("torch.", ""), launch, False, False)
    if capability >= LEAST_CAPABILITY:
        yield from (Named("views of fixed launches", launch, False, False) for launch in _fixed_views())


def _fixed_views() -> Iterator[Launch]:
    """The further launches in a fixed evaluation of one picture, beside the planes'."""
    planes = fixed.FixedPlanes.of("warp", 8, 1, torch.device("cpu"))
    cuts, resizes = (torch.zeros(1, fields, dtype=torch.int64) for fields in (fixed.CUT_FIELDS, fixed.RESIZE_FIELDS))
    yield planes.launches(cuts, resizes, [])[0]
    yield fixed.windows_launch(torch.zeros(1, 5, dtype=torch.int64), torch.zeros(1, 8, 8, 3, dtype=torch.uint8), [])


def _networks() -> Iterator[networks.Network]:
    for name in networks.preset_names():
        for geometry in networks.GEOMETRIES:
            yield networks.preset(name, geometry)


def _problems() -> Iterator[BlockParams]:
    """Every distinct block of every preset, one image."""
    seen = set()
    for net in _networks():
        for column in net.columns:
            for params in problems_of(column) if isinstance(column, networks.Column) else ():
                if params not in seen:
                    seen.add(params)
                    yield params


def _typed(params: BlockParams, dtype: torch.dtype, precision: Precision) -> BlockParams:
    options = replace(params.options, precision=precision)
    return replace(params, options=options, dtype=dtype, weight_dtype=dtype, out_dtype=dtype)


def _scoring(params: BlockParams, capability: int) -> list[Launch]:
    x, operands = scoring_operands(params)
    with collected(capability) as found:
        out = _last(params.out_shape, params.weight_dtype)
        BACKENDS["triton"].prepare(params, operands).run(Work([x], whole_images(params), [out]))
    return found


def _training_in_memory(params: BlockParams, capability: int) -> list[Launch]:
    return _training(params, capability, "memory") if conv_gradient.refused(params) is None else []


def _training(params: BlockParams, capability: int, way: conv_gradient.Way) -> list[Launch]:
    x, operands = _operands(params)
    triton = BACKENDS["triton"]
    with collected(capability) as found:
        made = triton.training(params, operands, x)
        needs = Needs(x=params.channels != 3)
        grad = torch.empty_like(made.result)
        backward_launch.gradients(params.gradient(), operands, x, made.saved(params), grad, needs, way)
    return found


@contextmanager
def collected(capability: int = DEFAULT_CAPABILITY) -> Iterator[list[Launch]]:
    """A context in which launches are collected instead of run."""
    found: list[Launch] = []
    with launched_by(found.append, capability):
        yield found


def _operands(params: BlockParams) -> tuple[Tensor, Operands]:
    x = _last((params.images, params.channels, params.height, params.width), params.dtype)
    weight = _last((params.filters, params.channels // params.options.groups, params.size, params.size), params.weight_dtype)
    return x, Operands(weight, torch.zeros(params.filters, dtype=params.weight_dtype))


def _last(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    # Zeros, as a kernel's instructions may depend on its data: the logarithm of infinity has a separate instruction.
    return torch.empty(shape, dtype=dtype, memory_format=torch.channels_last).zero_()
