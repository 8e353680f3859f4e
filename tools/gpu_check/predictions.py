"""Stage 8: predicted over measured time for each block; with `--write`, measurements are written into the project."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.gpu_cost import counted_tiles, predicted
from dcnn_fast.ops.block.cuda.warpgroup import BY_WARPS
from dcnn_fast.ops.block.gpu import choice
from dcnn_fast.ops.block.triton import config as triton_config
from dcnn_fast.ops.gpus import GPUS, HOPPER, Gpu
from tools.gpu_check.stage import ROOT, Finding, Setting
from tools.gpu_check.times import BY_HAND, STAGED, WARPGROUP

RESULTS = ROOT / "bench" / "results"
TILES = Path(triton_config.__file__).with_name("tiles.json")


@dataclass(frozen=True)
class Measured:
    """A block's time. problem: the key by which tiles are chosen (`problem_key`)."""

    problem: str
    tile: str
    seconds: float | None


def measured(findings: Sequence[Finding], not_done: Sequence[str] = ()) -> list[Measured]:
    """Stage 6's times of blocks, by tile; of a block that was not timed in all its tiles (not_done) none: the fastest could be
    one that is missing.
    """
    partly = tuple(f"{name} " for name in not_done)
    return [
        Measured(each.values["problem"], each.values["tile"], each.values["seconds"])
        for each in findings
        if "tile" in each.values and not each.name.startswith(partly)
    ]


def run(setting: Setting) -> Iterator[Finding]:
    """The model of bench/gpu_cost.py for the GPU found."""
    found, device = measured(setting.before.get("times", ()), setting.not_done.get("times", ())), _device(setting)
    capability = device.get("capability", setting.capability)
    gpu = next((each for each in GPUS if each.capability == capability), None)
    if not found or gpu is None:
        why = (
            "stage `times` has timed no block in all its tiles"
            if not found
            else f"no GPU of compute capability {capability} is in the model's table"
        )
        yield Finding("predictions", None, f"not run: {why}")
        return
    counts = {(row.key, row.tile): row.counts for row in counted_tiles().values()}
    for each in found:
        if (each.problem, each.tile) in counts:
            yield _compared(each, predicted(gpu, counts[each.problem, each.tile], each.tile), gpu)
        else:
            yield Finding(f"{each.tile}: {each.problem}", None, "not a problem of the presets: nothing is predicted of it")
    if setting.write:
        yield _written(setting, found, str(device.get("gpu", gpu.name)), capability)


def _device(setting: Setting) -> Mapping[str, Any]:
    return next((each.values for each in setting.before.get("versions", ()) if each.name == "device"), {})


def _compared(each: Measured, model: tuple[float, str], gpu: Gpu) -> Finding:
    seconds, bound = model
    ratio = None if each.seconds is None else seconds / each.seconds
    said = f"modelled for the {gpu.name}: {1e6 * seconds:.1f} us, bound by {bound}"
    if ratio is not None:
        said += f"; modelled over measured {ratio:.2f}"
    return Finding(f"{each.tile}: {each.problem}", None, said, {"modelled": seconds, "measured": each.seconds, "ratio": ratio})


def _written(setting: Setting, found: Sequence[Measured], gpu: str, capability: int) -> Finding:
    if any(each.seconds is None for each in found):
        return Finding("write", False, "nothing is written: the simulator measures no time")
    where = write(setting.before, found, gpu, capability)
    return Finding("write", True, f"written: {', '.join(str(file.relative_to(ROOT)) for file in where)}")


def write(
    before: Mapping[str, Sequence[Finding]], found: Sequence[Measured], gpu: str, capability: int,
    results: Path = RESULTS, tiles: Path = TILES, choices: Path = choice.TABLE, by_warps: Path = BY_WARPS,
) -> list[Path]:  # fmt: skip
    """Write all measurements into the benchmark's results folder, the fastest tiles, the choice between backends and, on sm_90,
    the choice between the CUDA C++ block's two kernels.

    Tiles and choices for other GPUs and for problems without times do not change. Returns the files.
    """
    own = results / f"gpu-{''.join(letter if letter.isalnum() else '-' for letter in gpu.lower())}.json"
    everything = {stage: [{"name": each.name, "said": each.said, **each.values} for each in of] for stage, of in before.items()}
    own.write_text(json.dumps({"measured": True, "gpu": gpu, "capability": capability, **everything}, indent=1) + "\n")
    times: dict[str, dict[str, float]] = {}
    for each in found:
        if each.seconds is not None:
            times.setdefault(each.problem, {})[each.tile] = each.seconds
    _merge(tiles, str(capability), {problem: _fastest(of) for problem, of in times.items() if not set(of) <= set(BY_HAND)})
    both = {problem: _pair(of) for problem, of in times.items() if set(of) & set(BY_HAND) and set(of) - set(BY_HAND)}
    _merge(choices, str(capability), both)
    if capability != HOPPER:
        return [own, tiles, choices]
    by_hand = {problem: of for problem, of in times.items() if set(BY_HAND) <= set(of)}
    slower = {problem for problem, of in by_hand.items() if of[WARPGROUP] > of[STAGED]}  # by warp groups
    left = set(json.loads(by_warps.read_text())) - by_hand.keys()
    by_warps.write_text(json.dumps(sorted(left | slower), indent=1) + "\n")
    return [own, tiles, choices, by_warps]


def _fastest(times: Mapping[str, float]) -> str:
    of_triton = {tile: seconds for tile, seconds in times.items() if tile not in BY_HAND}
    return min(of_triton, key=lambda tile: of_triton[tile])


def _pair(times: Mapping[str, float]) -> list[float]:
    """Microseconds of the CUDA C++ block's faster tile and of the fastest of Triton's."""
    by_hand = min(times[tile] for tile in BY_HAND if tile in times)
    return [round(1e6 * seconds, 1) for seconds in (by_hand, times[_fastest(times)])]


def _merge(file: Path, capability: str, new: Mapping[str, Any]) -> None:
    known = json.loads(file.read_text())
    known[capability] = {**known.get(capability, {}), **new}
    file.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
