"""What GPUs could do, by arithmetic: nothing here has run on one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from bench import cases
from bench.effort import FULL
from bench.row import Row
from bench.suites import score
from bench.work import Work, work_of
from dcnn_fast import spec
from dcnn_fast.ops.gpus import GPUS, Sheet
from dcnn_fast.plan import share
from dcnn_fast.spec import View

SHARE_OF_PEAK, SHARE_OF_BANDWIDTH = 0.6, 0.8
MODEL = (
    f"seconds = the sum over the plan's layers of max(operations / {SHARE_OF_PEAK:.0%} of the peak, bytes / "
    f"{SHARE_OF_BANDWIDTH:.0%} of the bandwidth), with the data sheet's peaks; the shares are assumptions, launches and "
    "copies to the device are left out, and nothing ran on a GPU"
)


SHEETS = tuple(gpu.sheet for gpu in GPUS if gpu.sheet is not None)
VIEWS = FULL.windows
# Presets, and their views in place of their own, as the score suite has them.
CASES: dict[str, tuple[str, tuple[View, ...] | None]] = {score.GRID_1: (cases.SCNN, ("warp",)), score.DCNN: (cases.DCNN, None)}
BYTES = {"fp32": 4, "bf16": 2}  # of a weight, and of a value between layers


def rows() -> Iterator[Row]:
    """Predicted seconds of fifty views of one photograph, the plans that a GPU would be given, for each GPU and precision."""
    for case in CASES:
        for precision in BYTES:
            layers = _layers(case, precision)
            for sheet in SHEETS:
                seconds = predicted(sheet, precision, layers)
                gflops = sum(work.flops for work in layers) / seconds / 1e9
                note = f"data sheet: {sheet.peak(precision):g} TFLOP/s, {sheet.bandwidth:g} GB/s"
                name = f"{sheet.product} {precision} (predicted)"
                yield Row(
                    "predicted",
                    case,
                    0,
                    name,
                    precision,
                    seconds,
                    gflops=gflops,
                    share=gflops / (sheet.peak(precision) * 1e3),
                    note=note,
                )


def predicted(sheet: Sheet, precision: str, layers: list[Work]) -> float:
    """Seconds by the model: layers follow each other."""
    peak, bandwidth = sheet.peak(precision) * 1e12 * SHARE_OF_PEAK, sheet.bandwidth * 1e9 * SHARE_OF_BANDWIDTH
    return sum(work.least_seconds(peak, bandwidth) for work in layers)


def counts() -> list[str]:
    """What the model counts: operations and bytes of every case's layers."""
    said = []
    for case in CASES:
        pairs = zip(_layers(case, "fp32"), _layers(case, "bf16"), strict=True)
        layers = (f"{a.layer} {a.flops / 1e9:.2f} GFLOP, {a.bytes / 1e6:.0f} / {b.bytes / 1e6:.0f} MB" for a, b in pairs)
        said.append(f"predicted: {case}: {'; '.join(layers)} (fp32 / bf16)")
    return said


def _layers(case: str, precision: str) -> list[Work]:
    (preset, views), item = CASES[case], BYTES[precision]
    found: list[Work] = []
    for number, column in enumerate(spec.preset(preset).columns):
        seen = column if views is None else replace(column, view=views[number])
        plane = score.PHOTOGRAPH if seen.view == "local" else (seen.plane, seen.plane)
        plan = share(seen, cases.windows(seen, plane, VIEWS, seed=number), plane, "cuda")
        found += work_of(seen, plan, plane, values=item, weights=item)
    return found
