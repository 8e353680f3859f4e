"""Stage 6: times of blocks by every backend and tile, of scores, of training steps; torch's beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from bench.chain import torch_chain
from bench.effort import FULL
from bench.row import Row
from bench.suites import paper
from dcnn_fast import Scorer, networks
from dcnn_fast.data import DataSet, Example
from dcnn_fast.nets import Column, Model, build
from dcnn_fast.ops.block import BACKENDS
from dcnn_fast.ops.block.backend import Operands, Saved, Work
from dcnn_fast.ops.block.cuda import forward_launch as cuda_forward
from dcnn_fast.ops.block.cuda.config import config_of
from dcnn_fast.ops.block.cuda.warpgroup import tile_by_groups, warpgroup_of
from dcnn_fast.ops.block.gpu.problem import problem_key
from dcnn_fast.ops.block.params import BlockOptions, BlockParams, problems_of
from dcnn_fast.ops.block.triton import config as triton_config
from dcnn_fast.ops.block.triton import forward_launch as triton_forward
from dcnn_fast.ops.block.whole import whole_images
from dcnn_fast.ops.launch import Launch, capability
from dcnn_fast.ops.recording import CudaGraph, Recorded, Recorder
from dcnn_fast.ops.recording import Step as Recordable
from dcnn_fast.runtime.contexts import own_stream
from dcnn_fast.training import ConvNetUpdate, groups_of
from dcnn_fast.training.distributed import World
from dcnn_fast.training.learning_layers import computed_in
from dcnn_fast.training.mini_batches import Request
from dcnn_fast.training.run_examples import lesson_of
from dcnn_fast.training.run_place import Place
from dcnn_fast.training.settings import Settings, TrainingPrecision
from dcnn_fast.training.step import At, Step
from devtools.taped import Taped
from tools.gpu_check import clock
from tools.gpu_check.pictures import picture, small_network
from tools.gpu_check.stage import Finding, Piece, Setting

BLOCK, SCORE, STEP, PAPER = "block", "score", "step", "paper"  # kinds of findings, the first words of their names
WINDOWS = 50
WORKERS = (1, 4, 16)
STAGED, WARPGROUP = BY_HAND = "staged", "warpgroup"  # tiles of the CUDA C++ block, as bench/gpu_cost.py has them
PRESETS = ("scnn-arch1", "alexnet")
_TYPES = (torch.float16, torch.bfloat16, torch.float32)
RECORDED: tuple[TrainingPrecision, ...] = ("fp16", "fp32", "bf16", "tf32")
_LAST_RESORTS = ("doubled", "halved")


@dataclass(frozen=True)
class Timed:
    """A block of a preset. block: the network's description of it, for torch's own operations."""

    name: str
    params: BlockParams
    block: networks.Block
    rounding: networks.Rounding

    @property
    def said(self) -> str:
        """Its name and dtype."""
        return f"{self.name} {str(self.params.weight_dtype).removeprefix('torch.')}"


def works(setting: Setting) -> list[Piece]:
    """The first preset's blocks in float16, scores, training steps, the other blocks, the paper's table; last, for each is
    compiled first, torch's compiled blocks.
    """
    problems = list(_problems(setting))
    blocks = [Piece(f"{BLOCK} {each.said}", partial(of_block, timed=each)) for each in problems]
    first = sum(each.name.startswith(PRESETS[0]) and each.params.weight_dtype == torch.float16 for each in problems)
    compiled = [] if setting.simulated else [
        Piece(f"{BLOCK} {each.said} torch compiled", partial(_torchs, timed=each, how="compiled")) for each in problems
    ]  # fmt: skip
    return [*blocks[:first], *_scores(setting), *_steps(setting), *blocks[first:], Piece(PAPER, _papers), *compiled]


def _papers(setting: Setting) -> Iterator[Finding]:
    """The paper's table of test times, beside its machines'."""
    if setting.simulated:
        yield Finding(PAPER, None, "not run: networks at full size would take the simulator hours")
        return
    folder = setting.out / "photographs"
    folder.mkdir(exist_ok=True)
    files = [folder / f"{seed}.jpg" for seed in range(32)]
    for seed, file in enumerate(files):
        Image.fromarray(picture(480, 640, seed)).save(file, quality=92)
    for row in paper.rows(files, WORKERS[1], FULL, setting.scorers):
        if isinstance(row, Row):
            yield Finding(f"{PAPER} {row.case} {row.precision}", None, row.note, {"seconds": row.seconds})
        else:
            yield Finding(f"{PAPER} {row}", None, "not run")


def _problems(setting: Setting) -> Iterator[Timed]:
    """The presets' blocks as in scoring: block 1 on bytes, fifty windows; one tiny block in the simulator."""
    if setting.simulated:
        block = networks.Block(8, 3, padding=1, pool=networks.Pool(3, 2))
        options = BlockOptions.of_spec(block, "up")
        half = torch.float16
        yield Timed("tiny 1", BlockParams(1, 3, 11, 11, 8, 3, options, torch.uint8, half, weight_dtype=half), block, "up")
        return
    for preset in PRESETS:
        column = networks.preset(preset).columns[0]
        assert isinstance(column, networks.Column)
        for dtype in _TYPES:
            for number, (problem, block) in enumerate(zip(problems_of(column), column.blocks, strict=True)):
                source = dtype if number else torch.uint8
                params = replace(problem, images=WINDOWS, dtype=source, weight_dtype=dtype, out_dtype=dtype)
                yield Timed(f"{preset} {number + 1}", params, block, column.rounding)


def of_block(setting: Setting, timed: Timed) -> Iterator[Finding]:
    """One problem by every backend and tile that runs it, and by torch's operations, one by one."""
    params = timed.params
    count = clock.buffers(params.bytes, setting)
    with setting.kernels():
        tiles = tiles_of(params, capability(setting.where))
    for tile in tiles:
        name = f"{BLOCK} {timed.said} {tile}"
        with setting.kernels():
            backend = "cuda" if tile in BY_HAND else "triton"
            if why := BACKENDS[backend].can_run(params, setting.where):
                yield Finding(name, None, f"not run: {why}")
                continue
            try:
                took = clock.seconds(setting, [_launch(params, tile, setting.where, seed) for seed in range(count)])
            except Exception as error:  # a tile that does not fit is a finding, not the end
                yield Finding(name, None, f"not run: {type(error).__name__}: {error}")
                continue
        values = {"problem": problem_key(params), "tile": tile, "seconds": took, "macs": params.macs}
        yield Finding(name, None, _said(took, params.macs), values)
    yield from _torchs(setting, timed, "eager")


def tiles_of(params: BlockParams, capability: int) -> list[str]:
    """The tiles that are timed: both of the CUDA C++ block's where the GPU has products of warp groups, and Triton's."""
    by_hand = BY_HAND if tile_by_groups(params, capability) is not None else (STAGED,)
    return [*by_hand, *(name for name in triton_config.forward_candidates(params) if name not in _LAST_RESORTS)]


def _launch(params: BlockParams, tile: str, where: torch.device, seed: int) -> Launch:
    """A launch on separate random operands, as products with zeros take less power, which raises clocks."""
    x, operands = _random(params, where, seed)
    out = torch.empty(params.out_shape, dtype=params.out_dtype, device=where, memory_format=torch.channels_last)
    work = Work([x], whole_images(params), [out])
    if tile in BY_HAND:
        config = warpgroup_of(params) if tile == WARPGROUP else config_of(params)
        return cuda_forward.prepared(params, operands, config=config).launch_of_work(work)
    candidate = triton_config.forward_candidates(params)[tile]
    return triton_forward.prepared(params, operands, tile=candidate).launch_of_work(work, Saved(None, None))


def _random(params: BlockParams, where: torch.device, seed: int) -> tuple[Tensor, Operands]:
    generator = torch.Generator(where).manual_seed(seed)
    channels = 4 if params.channels == 3 else params.channels  # four channels per pixel, as the views write them
    shape = params.images, channels, params.height, params.width
    if params.dtype == torch.uint8:
        x = torch.randint(0, 256, shape, dtype=torch.uint8, device=where, generator=generator)
    else:
        x = torch.randn(shape, dtype=params.dtype, device=where, generator=generator)
    x = x.contiguous(memory_format=torch.channels_last)[:, : params.channels]
    of = params.filters, params.channels // params.options.groups, params.size, params.size
    weight = torch.randn(of, device=where, generator=generator, dtype=torch.float32).to(params.weight_dtype)
    mean = (120.0,) * params.channels if params.dtype == torch.uint8 else ()
    return x, Operands(weight, torch.zeros(params.filters, dtype=params.weight_dtype, device=where), mean)


def _torchs(setting: Setting, timed: Timed, how: str) -> Iterator[Finding]:
    """The block as a torch user writes it, in channels-last memory. how: eager or compiled."""
    params, name = timed.params, f"{BLOCK} {timed.said} torch {how}"
    dtype, count = params.weight_dtype, clock.buffers(params.bytes, setting)
    if setting.simulated and dtype != torch.float32:
        timed = replace(timed, params=replace(params, dtype=torch.float32, weight_dtype=torch.float32, out_dtype=torch.float32))
        dtype = torch.float32  # not all of the CPU's operations have float16
    given = [_random(replace(timed.params, dtype=dtype), setting.where, seed) for seed in range(count)]
    chain = torch.compile(torch_chain) if how == "compiled" else torch_chain
    steps = [partial(chain, x, operands.weight, operands.bias, timed.block, timed.rounding) for x, operands in given]
    try:
        with torch.no_grad(), torch.backends.cudnn.flags(benchmark=True, allow_tf32=False):
            took = clock.seconds(setting, steps)
    except Exception as error:
        yield Finding(name, None, f"not run: {type(error).__name__}: {error}")
        return
    yield Finding(name, None, _said(took, params.macs), {"seconds": took})


def _scores(setting: Setting) -> list[Piece]:
    """Pictures per second end to end from arrays, for several numbers of workers, with the host's time; float16 first."""
    if setting.simulated:
        return [Piece(f"{SCORE} small float16", partial(_scored, name="small", dtype="float16"))]
    return [
        Piece(f"{SCORE} {name} {dtype}", partial(_scored, name=name, dtype=dtype))
        for dtype in ("float16", "float32", "bfloat16")
        for name in ("scnn-arch1", "dcnn")
    ]


def _scored(setting: Setting, name: str, dtype: str) -> Iterator[Finding]:
    shape, count, samples = ((40, 50), 2, 2) if setting.simulated else ((600, 800), 96, WINDOWS)
    pictures = [picture(*shape, seed % 8) for seed in range(count)]
    with setting.kernels():
        network = small_network() if setting.simulated else networks.preset(name)
        scorer = Scorer(Model(build(network, seed=1).eval(), {}), setting.scorers, samples, dtype=dtype)
        for workers in WORKERS[: 1 if setting.simulated else None]:
            yield _pictures(setting, f"{SCORE} {name} {dtype}, {workers} workers", scorer, pictures, workers)


def _pictures(setting: Setting, name: str, scorer: Scorer, pictures: list[np.ndarray], workers: int) -> Finding:
    took = clock.wall(setting, lambda: list(scorer.score_many(pictures, workers=workers)), rounds=3)
    if took is None:
        return Finding(name, None, "run; the simulator has no time", {"seconds": None})
    wall, host = (each / len(pictures) for each in took)
    said = f"{1 / wall:.0f} pictures a second; {1e3 * host:.2f} ms of the host's processors for each"
    return Finding(name, None, said, {"seconds": wall, "host seconds": host})


def _steps(setting: Setting) -> list[Piece]:
    """Training steps, including the host: recorded ones first, and in float16."""
    recorded = [
        Piece(f"{STEP} recorded {precision}", partial(_recorded, precision=precision))
        for precision in RECORDED[: 1 if setting.simulated else None]
    ]
    dtypes = (torch.float32,) if setting.simulated else (torch.float32, torch.bfloat16)
    names = [(f"{STEP} {str(dtype).removeprefix('torch.')}", dtype) for dtype in dtypes]
    return [*recorded, *(Piece(name, partial(_plain, name=name, dtype=dtype)) for name, dtype in names)]


def _plain(setting: Setting, name: str, dtype: torch.dtype) -> Iterator[Finding]:
    """A step launched one by one."""
    column, batch = _column(setting)
    with setting.kernels():
        yield _timed(name, clock.wall(setting, _step_of(column, batch, setting.where, dtype)), batch)


def _recorded(setting: Setting, precision: TrainingPrecision) -> Iterator[Finding]:
    column, batch = _column(setting)
    with setting.kernels(), own_stream(setting.where):
        step = _recorded_step_of(column, batch, setting, precision)
        if step is None:
            yield Finding(f"{STEP} recorded {precision}", False, "it could not be recorded: the log says why")
            return
        yield _timed(f"{STEP} recorded {precision}", clock.wall(setting, step), batch)


def _timed(name: str, took: tuple[float, float] | None, batch: int) -> Finding:
    if took is None:
        return Finding(name, None, "run; the simulator has no time", {"seconds": None})
    said = f"{1e3 * took[0]:.2f} ms for {batch} windows; {1e3 * took[1]:.2f} ms of the host"
    return Finding(name, None, said, {"seconds": took[0], "host seconds": took[1]})


def _recorded_step_of(
    column: networks.Column, batch: int, setting: Setting, precision: TrainingPrecision
) -> Callable[[], object] | None:  # fmt: skip
    """A step of a run as `dcnn-fast train` makes it, replayed as often as it is called; None where it is not recorded."""
    net = build(networks.Network("one column", (column,), ("low", "high")), seed=0).to(setting.where).train()
    settings = Settings(precision=precision, batch=batch)
    examples = tuple(Example(picture(40, 50, i % 2), f"picture {i}", i % 2) for i in range(batch))
    lesson = lesson_of(net, DataSet(net.spec.labels, examples, examples[:2]), settings, decoded=True)
    cases = lesson.draws[Request(0, tuple(range(batch)))]
    windows = cases.on(setting.where, lesson.draws.pictures.inputs)
    made: list[Recorded] = []

    def record(steps: Sequence[Recordable]) -> Recorded:
        made.append(Taped(steps) if setting.simulated else CudaGraph(setting.where, steps))
        return made[-1]

    with computed_in(net, precision, setting.where):
        step = Step(net, lesson, settings, Place(World(), setting.where), Recorder(record))
        for number in range(2):
            step.launch(cases, windows, At(0, number, 10**6), stopping=False)
    return partial(step.launch, cases, windows, At(0, 2, 10**6), stopping=False) if made else None


def _step_of(column: networks.Column, batch: int, where: torch.device, dtype: torch.dtype) -> Callable[[], None]:
    """A function that runs one training step of a column on the device."""
    net = Column(column).to(where, dtype)
    net.initialise(torch.Generator().manual_seed(0))
    update = ConvNetUpdate(groups_of(net))
    windows = torch.randint(0, 256, (batch, 3, column.window, column.window), dtype=torch.uint8, device=where)
    windows = windows.contiguous(memory_format=torch.channels_last)
    targets = torch.arange(batch, device=where) % 2

    def step() -> None:
        update.zero_grad()
        F.cross_entropy(net(windows)[:, :2].float(), targets).backward()
        update.step()

    return step


def _column(setting: Setting) -> tuple[networks.Column, int]:
    column = networks.preset("scnn-arch1").columns[0]
    assert isinstance(column, networks.Column)
    if not setting.simulated:
        return column, 128
    tiny = (networks.Block(8, 3, padding=1, pool=networks.Pool(3, 2)),)
    return replace(column, blocks=tiny, window=11, plane=12, fc=(4, 2), dropout=0.0), 2


def _said(took: float | None, macs: int) -> str:
    return "run; the simulator has no time" if took is None else f"{1e6 * took:.1f} us, {2e-12 * macs / took:.0f} TFLOP/s"
