"""The suites: single blocks, whole scores, the paper's table, and how the cost grows. Each yields rows of one table."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench import cases, peers
from bench.timing import Rival, alternate, medians, require_agreement
from dcnn_fast import nets, ops
from dcnn_fast.nets import Model, MultiColumn
from dcnn_fast.ops.block import BlockOptions, params_of
from dcnn_fast.ops.precision import Precision
from dcnn_fast.plan import ColumnPlan, brute_force, share
from dcnn_fast.scoring import Scorer
from dcnn_fast.scoring.forward import Job, column_features, column_maps
from dcnn_fast.scoring.scorer import with_bf16_layers
from dcnn_fast.spec import View


@dataclass(frozen=True)
class Row:
    """One measured time. case: what was computed; name: by whom; ratio: the best peer's time of that precision over ours."""

    suite: str
    case: str
    threads: int
    name: str
    precision: str
    seconds: float
    spread: float
    error: float
    ratio: float | None = None
    gflops: float | None = None
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


OURS, OURS_BF16 = "dcnn_fast", "dcnn_fast bf16"


def _measure(
    suite: str, case: str, threads: int, ours: Sequence[Rival], others: Sequence[Rival], rounds: int, flops: float | None,
    note: str = "",
) -> Iterator[Row]:  # fmt: skip
    """Check that all agree with torch eager, then time them in turn."""
    rivals = {rival.name: rival for rival in (*ours, *others)}
    expected = next(rival for rival in others if rival.name == "torch eager").run()
    errors = require_agreement(rivals, expected)
    seconds = alternate(rivals, rounds)
    middle = medians(seconds)
    for name, times in seconds.items():
        precision = _precision(name)
        peers_of_it = [middle[rival.name] for rival in others if _precision(rival.name) == precision]
        mine = any(rival.name == name for rival in ours)
        yield Row(
            suite, case, threads, name, precision, middle[name], (max(times) - min(times)) / middle[name], errors[name],
            min(peers_of_it) / middle[name] if mine and peers_of_it else None,
            flops / middle[name] / 1e9 if flops and mine else None, note,
        )  # fmt: skip


def _precision(name: str) -> str:
    return "bf16" if name.endswith("bf16") else "fp32"


def blocks(threads: int, rounds: int, *, quick: bool) -> Iterator[Row]:
    """Block 1 and block 2 of Arch 1 alone, 50 images, no sharing, each library in its own layout."""
    torch.set_num_threads(threads)
    net = cases.network()
    generator = torch.Generator().manual_seed(0)
    inputs = (torch.randn(50, 3, 224, 224, generator=generator), torch.randn(50, 64, 54, 54, generator=generator).relu())
    for number, x in enumerate(inputs[: 1 if quick else 2], 1):
        block, spec = net.columns[0].blocks[number - 1], net.columns[0].spec.blocks[number - 1]
        weight, bias = block.weight.detach(), block.bias.detach()
        options = BlockOptions.of_spec(spec, "up")
        last = x.contiguous(memory_format=torch.channels_last)

        def run(
            precision: Precision, last: Tensor = last, weight: Tensor = weight, bias: Tensor = bias,
            options: BlockOptions = options,
        ) -> np.ndarray:  # fmt: skip
            result: np.ndarray = ops.block(
                last, weight, bias, stride=options.stride, padding=options.padding, rounding="up", pool=options.pool,
                norm=options.norm, precision=precision,
            ).numpy()  # fmt: skip
            return result

        plain = peers.PlainBlocks([spec], [(weight, bias)], [], [x.shape[2]], "up")
        built = peers.build(plain, tuple(x.shape), threads, compiled=not quick, bf16=not quick)
        others = [
            Rival(name, _bound(peer, x.contiguous(memory_format=peers.layout(name))), peers.tolerance(name))
            for name, peer in built.items()
        ]
        flops = 2 * params_of(x, weight, options).macs
        ours = [_rival(OURS, partial(run, "ieee")), *([] if quick else [_rival(OURS_BF16, partial(run, "bf16"))])]
        yield from _measure("block", f"block {number}", threads, ours, others, rounds, flops)


def _rival(name: str, run: Callable[[], np.ndarray]) -> Rival:
    return Rival(name, run, peers.tolerance(name))


def _bound(peer: peers.Peer, x: Tensor) -> Callable[[], np.ndarray]:
    return lambda: peer(x)


def scores(threads: int, rounds: int, *, quick: bool) -> Iterator[Row]:
    """The features of 50 views from a plane of bytes: planning, cutting and subtracting the mean included for each."""
    square, photo = cases.photograph(256, 256), cases.photograph(600, 800)
    yield from _score("SCNN, grid 1", ("warp",), [square], 1, threads, rounds, quick=quick)
    if quick:
        return
    yield from _score("SCNN, grid 8", ("warp",), [square], 8, threads, rounds, quick=quick)
    yield from _score("DCNN 800x600, grid 1", ("local", "warp"), [photo, square], 1, threads, rounds, quick=quick)


def _score(
    case: str, views: tuple[View, ...], planes: Sequence[np.ndarray], grid: int, threads: int, rounds: int, *, quick: bool
) -> Iterator[Row]:
    torch.set_num_threads(threads)
    net = cases.network(views)
    cuts = [cases.Cut(plane, cases.windows(plane, grid, seed=i)) for i, plane in enumerate(planes)]
    counts = [len(cut.distinct()[0]) for cut in cuts]
    built = [
        peers.build(cases.plain(net, i), (count, 3, 224, 224), threads, compiled=not quick, bf16=not quick)
        for i, count in enumerate(counts)
    ]

    def rival(name: str) -> Rival:
        def run() -> np.ndarray:
            memory = peers.layout(name)
            outputs = [peer[name](cut.tensor(memory))[cut.distinct()[1]] for peer, cut in zip(built, cuts, strict=True)]
            return np.concatenate(outputs, axis=1)

        return Rival(name, run, peers.tolerance(name))

    ours = [_rival(OURS, lambda: _features(net, cuts, _shared))]
    if not quick:
        halved = with_bf16_layers(net)
        ours.append(_rival(OURS_BF16, lambda: _features(halved, cuts, _shared, "bf16")))
    note = f"distinct windows: {', '.join(map(str, counts))}"
    yield from _measure("score", case, threads, ours, [rival(name) for name in built[0]], rounds, None, note)


Planner = Callable[[Any, np.ndarray, tuple[int, int], Precision], ColumnPlan]


def _shared(column: Any, offsets: np.ndarray, plane: tuple[int, int], precision: Precision) -> ColumnPlan:
    return share(column, offsets, plane, precision=precision)


def _brute(column: Any, offsets: np.ndarray, plane: tuple[int, int], precision: Precision) -> ColumnPlan:
    return brute_force(column, offsets)


@torch.no_grad()
def _features(net: MultiColumn, cuts: Sequence[cases.Cut], planner: Planner, precision: Precision = "ieee") -> np.ndarray:
    parts = []
    for column, cut in zip(net.columns, cuts, strict=True):
        plan = planner(column.spec, cut.offsets, cut.plane.shape[:2], precision)  # type: ignore[arg-type, union-attr]
        maps = column_maps(column, Job(cut.plane, cut.offsets, plan), precision)  # type: ignore[arg-type]
        parts.append(column_features(column, [maps], [plan.window_of]))  # type: ignore[arg-type]
    result: np.ndarray = torch.cat(parts, dim=1).numpy()
    return result


PAPER = {  # minutes for 2,048 images x 50 views, on the paper's machines
    "scnn-arch1": (50.0, "M2070/M2090"), "dcnn": (80.0, "M2070/M2090"), "rdcnn-style": (100.0, "M2070/M2090"),
    "alexnet": (60.0, "K40"), "alexnet-dcnn": (80.0, "K40"),
}  # fmt: skip


def paper(photos: Sequence[Path], threads: int, *, quick: bool) -> Iterator[Row]:
    """50 views of real photographs with the paper's networks, from JPEG files and network only, scaled to 2,048 images."""
    torch.set_num_threads(threads)
    for name in list(PAPER)[: 1 if quick else None]:
        scorer = Scorer(Model(nets.build(name, seed=0).eval()))
        next(iter(scorer.score_many(photos[:1])))
        start = time.perf_counter()
        failed = [score.error for score in scorer.score_many(photos) if score.error]
        whole = time.perf_counter() - start
        if failed:
            raise RuntimeError(f"a photograph could not be read: {failed[0]}")
        prepared = [scorer._prepare(photo) for photo in photos]
        start = time.perf_counter()
        for first in range(0, len(prepared), 4):
            scorer._finish(prepared[first : first + 4])
        network = time.perf_counter() - start
        minutes, machine = PAPER[name]
        note = f"{len(photos)} photographs scaled to 2048; the paper: {minutes:.0f} min on {machine}"
        for case, seconds in ((f"{name}, from files", whole), (f"{name}, network", network)):
            scaled = seconds * 2048 / len(photos)
            yield Row("paper", case, threads, OURS, "fp32", scaled, 0.0, 0.0, minutes * 60 / scaled, None, note)


def scaling(threads: int, rounds: int) -> Iterator[Row]:
    """One local column: cost against the number of views and the photograph's size, shared and by brute force."""
    torch.set_num_threads(threads)
    net = cases.network(("local",))
    for count in (1, 5, 20, 50, 100, 500):
        yield from _scaled(net, f"{count} views of 256x256", cases.photograph(256, 256), count, threads, rounds)
    for height, width in ((480, 640), (600, 800), (1200, 1600), (3000, 4000), (6144, 8192)):
        yield from _scaled(net, f"50 views of {width}x{height}", cases.photograph(height, width), 50, threads, rounds)


def _scaled(net: MultiColumn, case: str, plane: np.ndarray, count: int, threads: int, rounds: int) -> Iterator[Row]:
    cut = cases.Cut(plane, cases.windows(plane, count=count))
    expected = _features(net, [cut], _brute)
    seconds: dict[str, list[float]] = {"sharing": [], "brute force": []}
    for _ in range(rounds):
        for name, planner in (("sharing", _shared), ("brute force", _brute)):
            start = time.perf_counter()
            result = _features(net, [cut], planner)
            seconds[name].append(time.perf_counter() - start)
            if not np.array_equal(result, expected):
                raise RuntimeError(f"{case}: {name} gives other bits")
    middle = {name: statistics.median(times) for name, times in seconds.items()}
    for name, times in seconds.items():
        ratio = middle["brute force"] / middle["sharing"] if name == "sharing" else None
        spread = (max(times) - min(times)) / middle[name]
        yield Row("scaling", case, threads, f"{OURS}, {name}", "fp32", middle[name], spread, 0.0, ratio)
