"""Attacks the readers, led by coverage, from the kept corpus on: `make fuzz`, or `python -m fuzz [TARGET ...]`.

Every input must end soon, within a bound of memory, and either be read or refused with a sentence. One that does not is kept
in build/fuzz/findings/TARGET, and the exit status is 1. What reached something new lies in build/fuzz/corpus/TARGET; `--keep`
takes some of it into fuzz/corpus, for everybody.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

from fuzz import kept, native
from fuzz.target import SOURCES, load

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "fuzz"

PLANTED = "planted"  # prefix of the names of inputs that were planted, not found
SECONDS = 120.0
SECONDS_OF_AN_INPUT, MEGABYTES = 20, 3000  # for the process: torch and its libraries take some hundreds


def folders(name: str) -> tuple[Path, Path]:
    """The folders for a target's inputs, including its seeds, and for its findings."""
    corpus, findings = BUILD / "corpus" / name, BUILD / "findings" / name
    for folder in (corpus, findings):
        folder.mkdir(parents=True, exist_ok=True)
    return corpus, findings


def plant(name: str, corpus: Path) -> None:
    """Write the target's seeds and kept inputs into the corpus."""
    seeds = native.SEEDS.get(name) or load(name).seeds
    for seed, data in seeds().items():
        (corpus / f"{PLANTED}-{seed.replace(' ', '-').replace('/', '-')}").write_bytes(data)
    for number, data in enumerate(kept.read(name)):
        (corpus / f"{PLANTED}-kept-{number}").write_bytes(data)


def program(name: str, arguments: list[str], corpus: Path, findings: Path) -> list[str]:
    """The command that attacks a target."""
    if name in native.NAMES:
        return native.command(name, BUILD / "native", corpus, findings, arguments)
    return [sys.executable, "-m", "fuzz.one", name, str(corpus), str(findings), *arguments]


def attack(name: str, seconds: float, seed: int) -> bool:
    """Attack a target. Returns whether nothing was found. Its program's output is in build/fuzz/TARGET.log.

    seed: for the random changes, 0 for a random one.
    """
    corpus, findings = folders(name)
    plant(name, corpus)
    limits = [
        f"-seed={seed}",
        f"-max_total_time={max(1, round(seconds))}",
        f"-timeout={SECONDS_OF_AN_INPUT}",
        f"-rss_limit_mb={MEGABYTES}",
    ]
    log = BUILD / f"{name}.log"
    with log.open("wb") as file:
        done = subprocess.run(
            program(name, limits, corpus, findings), cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, check=False
        )
    text = log.read_text(errors="replace")
    runs = [line for line in text.splitlines() if line.startswith(("Done ", "Went through "))]
    print(f"{name}: {runs[-1] if runs else f'status {done.returncode}'}", flush=True)
    if done.returncode:
        print(f"{name}: FOUND, see {log.relative_to(ROOT)} and {findings.relative_to(ROOT)}\n{text[-3000:]}", flush=True)
    return done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("target", nargs="*", help=f"by default all: {', '.join((*SOURCES, *native.NAMES))}")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of all targets together, by the clock (default 120)")
    parser.add_argument("--seed", type=int, default=1, help="of the random changes; 0 draws one (default 1)")
    parser.add_argument("--jobs", type=int, default=2, help="targets that are attacked at a time (default 2)")
    parser.add_argument("--keep", action="store_true", help="take some of what reached something new into fuzz/corpus")
    given = parser.parse_args()
    unknown = sorted(set(given.target) - {*SOURCES, *native.NAMES})
    if unknown:
        parser.error(f"no such target: {', '.join(unknown)}")
    names = given.target or [*SOURCES, *native.NAMES]
    if not find_spec("atheris"):
        print("atheris is not installed: targets in Python go through their corpora once, and look for nothing new", flush=True)
    native.build([name for name in names if name in native.NAMES], BUILD / "native")
    share = given.seconds * min(given.jobs, len(names)) / len(names)
    with ThreadPoolExecutor(given.jobs) as pool:
        fine = list(pool.map(lambda name: attack(name, share, given.seed), names))
    if given.keep and all(fine):
        for name in names:
            new = (file.read_bytes() for file in folders(name)[0].iterdir() if not file.name.startswith(PLANTED))
            print(f"{name}: {kept.add(name, new)} inputs are kept", flush=True)
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
