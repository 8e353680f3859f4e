"""`python -m tools.gpu_check`: run the stages, each in a process of its own, and write the report after each.

It takes --minutes at most, of which each stage gets its share and later ones what is left over; what a stage does not come to
is named, and the status is 3 where nothing else is wrong. From a tree that was not installed the C++ engine is built first,
beside its sources, with the compiler that is there, which has a share of the time, too.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_OUT = "gpu-check"


def _options(stages: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.gpu_check", description=__doc__)
    parser.add_argument(
        "--device",
        default="cuda",
        help="cuda, cuda:N, or sim (sim:80: as sm_80): tiny shapes in the PTX simulator, without a GPU",
    )
    only = f"run these stages alone (A,B, or given several times; the report keeps the others): {', '.join(stages)}"
    parser.add_argument("--only", action="extend", type=_named(stages), metavar="STAGE", help=only)
    minutes = "for all stages together (default: 5, with --only 3, in the simulator ten times as many)"
    parser.add_argument("--minutes", type=_minutes, help=minutes)
    parser.add_argument("--out", type=Path, default=Path(DEFAULT_OUT), help=f"the report's folder (default: {DEFAULT_OUT})")
    write = "make what was measured the project's: a file in bench/results, the tiles, the choice between backends and kernels"
    parser.add_argument("--write", action="store_true", help=write)
    return parser.parse_args()


def _named(stages: list[str]) -> Callable[[str], list[str]]:
    """What reads the names of stages."""

    def names(text: str) -> list[str]:
        found = text.split(",")
        for name in found:
            if name not in stages:
                raise argparse.ArgumentTypeError(f"invalid choice: {name!r} (choose from {', '.join(stages)})")
        return found

    return names


def _minutes(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise argparse.ArgumentTypeError(f"must be a positive number, got {text!r}")
    return found


def main() -> int:
    """The command. Returns 0 where nothing is wrong."""
    began = time.monotonic()
    found_first = [str(ROOT), str(ROOT / "ptxsim" / "src")]
    sys.path[:0] = [each for each in found_first if each not in sys.path]
    os.environ["PYTHONPATH"] = os.pathsep.join([*found_first, *filter(None, [os.environ.get("PYTHONPATH")])])
    from tools.gpu_check import plain_tree, shares  # noqa: PLC0415 - what they import is found only now

    options = _options(list(shares.SHARES))
    names = [name for name in shares.SHARES if options.only is None or name in options.only]
    granted = shares.building(shares.budget(options.device, options.minutes, names), names)
    try:
        if why := plain_tree.built(granted):
            sys.stderr.write(f"the C++ engine could not be built: {why}\n")
            return 1
        from tools.gpu_check import sequence  # noqa: PLC0415 - as above, and it imports the engine
    except TimeoutError:
        return _not_built(options, names, granted, time.monotonic() - began)
    except ModuleNotFoundError as error:
        sys.stderr.write(f"the package {error.name} is not installed, without which nothing can be checked\n")
        return 1
    return sequence.run(
        options.device, options.out.resolve(), names, write=options.write, minutes=options.minutes, began=began
    )  # fmt: skip


def _not_built(options: argparse.Namespace, names: list[str], granted: float, seconds: float) -> int:
    """Report that no stage was run, as the engine was not built in time."""
    from tools.gpu_check import report, shares  # noqa: PLC0415 - as above

    title = "The C++ engine of a tree that was not installed; the next run goes on from what has been compiled."
    ran = report.Ran(shares.ENGINE, title, report.CUT, seconds, granted, [], "", [shares.ENGINE, *names])
    out, simulated = options.out.resolve(), options.device.startswith("sim")
    out.mkdir(parents=True, exist_ok=True)
    budget = shares.budget(options.device, options.minutes, names)
    report.write(out, options.device, [ran], len(shares.SHARES), simulated, budget)
    report.say(ran)
    return shares.SOME_NOT_DONE


if __name__ == "__main__":
    sys.exit(main())
