"""The command `ptxsim`: run a kernel of a PTX file on arrays in .npy files."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .counters import SUMMED, Report
from .errors import UnsupportedInstruction
from .launch import launch

_ALIGNED = 256  # bytes, as for cudaMalloc
_ARGUMENT = (
    "An argument of the kernel, in its order: a file x.npy, whose array the kernel works on in memory (the file stays as it "
    "is); new:float32:100x3, an array that may not be read before it has been written; a whole number; a number with a point; "
    "or null. Once for each argument; Triton's two scratch pointers at the end may be left out."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Exit status: 0; 1 where the kernel broke a rule; 2 for a wrong call or unsupported PTX."""
    options = _parser().parse_args(arguments)
    try:
        ptx = options.ptx.read_text()
        values = [_value(text) for text in options.arg]
        undefined = [value for text, value in zip(options.arg, values, strict=True) if text.startswith("new:")]
        report = launch(
            ptx, options.entry, options.grid, options.block, values, shared=options.shared, uninitialised=undefined,
            check="collect", rounding=options.rounding,
        )  # fmt: skip
        if options.write is not None:
            _write(options.write, values)
    except (ValueError, TypeError, KeyError, OSError, UnsupportedInstruction) as error:
        said = error.args[0] if isinstance(error, KeyError) else error  # str() of a KeyError would quote it
        print(f"ptxsim: {options.ptx}: {said}", file=sys.stderr)
        return 2
    print(json.dumps(report.to_dict(), indent=1) if options.json else _text(report))
    return 1 if report.findings else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ptxsim", description="Run compiled GPU kernels on the CPU, check and count.")
    commands = parser.add_subparsers(required=True, metavar="run")
    run = commands.add_parser(
        "run", help="run one kernel of a PTX file",
        description="Run one kernel of a PTX file; print what rules it broke and what it did. Exit status: 0 where it broke "
        "none, 1 where it did, 2 for a wrong call or instructions that are not executed.",
    )  # fmt: skip
    run.add_argument("ptx", type=Path, help="The PTX file.")
    run.add_argument("--entry", required=True, help="The kernel's name in the file.")
    run.add_argument("--grid", required=True, type=_sizes, help="Thread blocks in the grid: 4, or 4,2 or 4,2,1.")
    run.add_argument("--block", required=True, type=_sizes, help="Threads in a thread block: 128, or 16,8 or 16,8,1.")
    run.add_argument("--shared", type=int, default=0, help="Bytes of dynamic shared memory; default 0.")
    run.add_argument("--arg", action="append", default=[], metavar="VALUE", help=_ARGUMENT)
    run.add_argument("--write", type=Path, metavar="DIR", help="Write the arrays, as the kernel left them, to DIR/arg0.npy …")
    run.add_argument(
        "--rounding", choices=("exact", "hardware"), default="exact",
        help="How matrix products are added: exactly, rounded once for each instruction (the default), or as the tensor cores "
        "of the PTX's target were measured to.",
    )  # fmt: skip
    run.add_argument("--json", action="store_true", help="Print the whole report as JSON, by PTX line too.")
    return parser


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be one to three whole numbers with commas between, got {text!r}") from None


def _value(text: str) -> Any:
    """The value of an argument's text. Raises ValueError, OSError."""
    if text == "null":
        return None
    if text.endswith(".npy"):
        return _placed(np.load(text, allow_pickle=False))
    if text.startswith("new:"):
        return _new(text)
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--arg must be x.npy, new:TYPE:SHAPE, a number or null, got {text!r}") from None


def _new(text: str) -> np.ndarray[Any, Any]:
    try:
        _, kind, shape = text.split(":")
        sizes = tuple(int(size) for size in shape.split("x"))
        dtype = np.dtype(kind)
    except (ValueError, TypeError):
        raise ValueError(f"--arg must be new:TYPE:SHAPE, as new:float32:100x3, got {text!r}") from None
    if min(sizes) < 1 or dtype.hasobject or math.prod(sizes) * dtype.itemsize > 1 << 34:
        raise ValueError(f"--arg must have 1 to 2^34 bytes of numbers, got {text!r}")
    return _placed(np.zeros(sizes, dtype))


def _placed(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A copy in C order, aligned like a GPU allocation, so that sectors are counted as on a GPU."""
    memory = np.zeros(array.nbytes + _ALIGNED, np.uint8)
    start = -memory.ctypes.data % _ALIGNED
    placed = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    placed[...] = array
    return placed


def _write(folder: Path, values: Sequence[Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, value in enumerate(values):
        if isinstance(value, np.ndarray):
            with (folder / f"arg{number}.npy").open("xb") as file:  # never overwrites a file
                np.save(file, value)


def _text(report: Report) -> str:
    lines = [f"{report.kernel}: {report.blocks} thread blocks of {report.threads} threads, {report.issued} warp instructions"]
    lines += [f"  {name.replace('_', ' ')}: {getattr(report, name)}" for name in SUMMED if getattr(report, name)]
    lines += [f"\n{finding}" for finding in report.findings]
    lines.append("" if report.findings else "no rule is broken")
    return "\n".join(lines).rstrip()


if __name__ == "__main__":
    sys.exit(main())
