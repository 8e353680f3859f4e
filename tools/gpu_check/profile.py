"""Stage 7: profiles of three kernels, on a GPU by its hardware counters (Nsight Compute)."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial

from tools.gpu_check import families
from tools.gpu_check.stage import ROOT, Finding, OutOfTimeError, Piece, Setting

KERNELS = ("cuda block fp16 from bytes", "triton block fp16", "triton block fp16 backward")
PROGRAM = "ncu"
METRICS = {
    "tensor pipe": "sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_active",
    "shared memory": "l1tex__data_pipe_lsu_wavefronts_mem_shared.avg.pct_of_peak_sustained_elapsed",
    "L2": "lts__throughput.avg.pct_of_peak_sustained_elapsed", "DRAM": "dram__throughput.avg.pct_of_peak_sustained_elapsed",
    "warps": "sm__warps_active.avg.pct_of_peak_sustained_active", "registers": "launch__registers_per_thread",
}  # fmt: skip


def works(setting: Setting) -> list[Piece]:
    """Each kernel in a separate program, whose other launches are also counted and named."""
    if setting.simulated or shutil.which(PROGRAM) is None:
        return [Piece(PROGRAM, _without)]
    return [Piece(name, partial(_of, name)) for name in KERNELS]


def _without(setting: Setting) -> Iterator[Finding]:
    if not setting.simulated:
        yield Finding(PROGRAM, None, "not run: it is not on the PATH")
        return
    yield Finding(PROGRAM, None, "not run: there is no GPU; what the simulator counts stands in")
    with setting.kernels() as launches:
        families.cases()[KERNELS[0]](setting.where)
    for what, report in launches:
        values = {"issued": report.issued, "shared wavefronts": report.shared_wavefronts, **report.instructions}
        yield Finding(str(what.kernel.name), None, "counted by the simulator", values)


def command(name: str, device: str) -> list[str]:
    """The command to run."""
    program = [sys.executable, "-m", "tools.gpu_check.families", name, "--device", device]
    filters = ["--kernel-name-base", "function", "--kernel-name", "regex:block"]
    return [PROGRAM, "--clock-control", "none", "--csv", "--metrics", ",".join(METRICS.values()), *filters, *program]


def _of(name: str, setting: Setting) -> Iterator[Finding]:
    seconds = setting.left
    try:
        done = subprocess.run(
            command(name, setting.device), capture_output=True, text=True, check=False, cwd=ROOT, timeout=seconds
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        yield Finding(name, None, f"not finished within {seconds:.0f} seconds")
        raise OutOfTimeError from None
    (setting.out / f"ncu {name}.csv").write_text(done.stdout)
    values = metrics(done.stdout)
    if not values:
        yield Finding(name, None, f"does not work here: {' '.join((done.stderr or done.stdout).split())[-200:]}")
        return
    yield Finding(name, None, "the largest of the kernel's launches", values)


def metrics(text: str) -> dict[str, float]:
    """Each metric's largest value in ncu's CSV output, which follows other lines."""
    start = text.find('"ID"')
    names, found = {metric: name for name, metric in METRICS.items()}, {}
    for row in csv.DictReader(io.StringIO(text[start:])) if start >= 0 else ():
        name = names.get(row.get("Metric Name") or "")
        try:
            value = float((row.get("Metric Value") or "").replace(",", ""))
        except ValueError:
            continue
        if name is not None:
            found[name] = max(value, found.get(name, value))
    return found
