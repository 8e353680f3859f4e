"""Every launch of a GPU kernel that a preset can select: what is compiled for the report and judged by the cost model."""

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
from dcnn_fast.ops.block.whole import whole_images
from dcnn_fast.ops.gpus import LEAST_CAPABILITY
from dcnn_fast.ops.launch import DEFAULT_CAPABILITY, Launch, launched_by
from dcnn_fast.ops.precision import Precision
from dcnn_fast.ops.views import fixed
from devtools import aot

TYPES: tuple[tuple[torch.dtype, Precision], ...] = (
    (torch.float16, "ieee"), (torch.bfloat16, "ieee"), (torch.float32, "tf32"), (torch.float32, "ieee"),
)  # fmt: skip
LITE: Lite = "lite2"  # the shipped model's
PRODUCTS: tuple[Precision, ...] = ("ieee", "bf16")  # of its layers


@dataclass(frozen=True)
class Named:
    """A launch and the problem it is of. tensor: whether its loops must use tensor cores. wide: and load 16 bytes a thread."""

    problem: str
    launch: Launch
    tensor: bool
    wide: bool


def preset_launches(capability: int) -> Iterator[Named]:
    """One of each kernel and configuration over all presets, geometries and types, as chosen for a compute capability."""
    seen: set[Any] = set()
    blocks = _of_blocks(capability), _of_cuda_blocks(capability)
    for named in chain(*blocks, _of_backbones(), _of_linears(), _of_heads(), _of_updates(), _of_views(capability)):
        identity = aot.machine_code_of(named.launch)
        if identity not in seen:
            seen.add(identity)
            yield named


def as_compiled(named: Named) -> Named:
    """The launch as a compiler sees it, whose tensors have no memory (all presets' fill gigabytes)."""
    launch = named.launch
    args = {name: _without_memory(value) if isinstance(value, Tensor) else value for name, value in launch.args.items()}
    return replace(named, launch=replace(launch, args=args, reads=(), writes=()))


def _without_memory(tensor: Tensor) -> Tensor:
    # The compiler is told which addresses are multiples of 16, and that of a tensor without memory is 0, which is one.
    return tensor if tensor.data_ptr() % 16 else torch.empty_like(tensor, device="meta")


def _of_blocks(capability: int) -> Iterator[Named]:
    for params in training_problems():
        for purpose, launches in (
            ("score", _scoring(_of_bytes(params), capability)),
            ("train", _training(params, capability)),
        ):
            for launch in launches:
                tensor = params.dtype.itemsize == 2 and "OPERAND" in launch.constants
                yield Named(f"{purpose} {params}", launch, tensor, tensor and params.channels != 3)


def _of_cuda_blocks(capability: int) -> Iterator[Named]:
    """The hand-staged block where it runs; block 1 from bytes and halves, of pixels of three channels and of four."""
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
    """Every different block of every preset in every type, block 1 of bytes."""
    for params in training_problems():
        yield _of_bytes(replace(params, images=images))


def training_problems() -> Iterator[BlockParams]:
    """Every different block of every preset in every type, one image."""
    for problem in _problems():
        for dtype, precision in TYPES:
            yield _typed(problem, dtype, precision)


def scoring_operands(params: BlockParams) -> tuple[Tensor, Operands]:
    """Source and operands: block 1 takes the mean off its bytes."""
    x, operands = _operands(params)
    return x, replace(operands, mean=(1.0,) * params.channels if params.dtype == torch.uint8 else ())


def _of_bytes(params: BlockParams) -> BlockParams:
    return replace(params, dtype=torch.uint8) if params.channels == 3 else params


def _of_backbones() -> Iterator[Named]:
    """An EfficientNet-Lite of one image at its own window, with the means of all its stages.

    How many bytes a thread loads is not asked: pixels are float32, rounded on the way, and the first blocks have few channels.
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
    """Of fifty windows: every fully-connected layer before the last."""
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
    """Of one photograph, fifty views: each number of columns that a preset has, and of labels."""
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
    """In CUDA C++ for sm_80 and later; what is cut of what makes no other kernel."""
    for dtype in (torch.uint8, torch.float16, torch.bfloat16):
        with collected(capability) as launches:
            views.planes([torch.zeros(8, 8, 3, dtype=torch.uint8)], "warp", dtype=dtype)
        for launch in launches:
            yield Named(f"views {dtype}".replace("torch.", ""), launch, False, False)
    if capability >= LEAST_CAPABILITY:
        yield from (Named("views of fixed launches", launch, False, False) for launch in _fixed_views())


def _fixed_views() -> Iterator[Launch]:
    """Those of a fixed evaluation of one picture, beside the planes' own."""
    planes = fixed.FixedPlanes.of("warp", 8, 1, torch.device("cpu"))
    cuts, resizes = (torch.zeros(1, fields, dtype=torch.int64) for fields in (fixed.CUT_FIELDS, fixed.RESIZE_FIELDS))
    yield planes.launches(cuts, resizes, [])[0]
    yield fixed.windows_launch(torch.zeros(1, 5, dtype=torch.int64), torch.zeros(1, 8, 8, 3, dtype=torch.uint8), [])


def _networks() -> Iterator[networks.Network]:
    for name in networks.preset_names():
        for geometry in networks.GEOMETRIES:
            yield networks.preset(name, geometry)


def _problems() -> Iterator[BlockParams]:
    """Every different block of every preset, one image."""
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


def _training(params: BlockParams, capability: int) -> list[Launch]:
    x, operands = _operands(params)
    triton = BACKENDS["triton"]
    with collected(capability) as found:
        made = triton.training(params, operands, x)
        needs = Needs(x=params.channels != 3)
        triton.backward(params.gradient(), operands, x, made.saved(params), torch.empty_like(made.result), needs)
    return found


@contextmanager
def collected(capability: int = DEFAULT_CAPABILITY) -> Iterator[list[Launch]]:
    """Launches are collected instead of run."""
    found: list[Launch] = []
    with launched_by(found.append, capability):
        yield found


def _operands(params: BlockParams) -> tuple[Tensor, Operands]:
    x = _last((params.images, params.channels, params.height, params.width), params.dtype)
    weight = _last((params.filters, params.channels // params.options.groups, params.size, params.size), params.weight_dtype)
    return x, Operands(weight, torch.zeros(params.filters, dtype=params.weight_dtype))


def _last(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    # Zeros, as what a kernel executes may follow from what it reads: the logarithm of infinity has an instruction of its own.
    return torch.empty(shape, dtype=dtype, memory_format=torch.channels_last).zero_()
