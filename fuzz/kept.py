"""The kept corpus: a text file for each target, with one input per line in base64, the shortest first."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"
LONGEST = 4096  # bytes of an input
MOST = 150  # inputs of a target


def read(name: str) -> list[bytes]:
    """A target's kept inputs; none where it has no file."""
    path = FOLDER / f"{name}.txt"
    lines = path.read_text(encoding="ascii").splitlines() if path.is_file() else []
    return [base64.b64decode(line, validate=True) for line in lines]


def add(name: str, inputs: Iterable[bytes]) -> int:
    """Keep these inputs, too, as far as there is room. Returns their number afterwards."""
    held = read(name)
    new = sorted({data for data in inputs if len(data) <= LONGEST} - set(held), key=lambda data: (len(data), data))
    # Spread over the lengths: the shortest alone would all fail at the first check.
    room = max(0, MOST - len(held))
    taken = new[:: max(1, -(-len(new) // room))] if room else []
    kept = sorted({*held, *taken}, key=lambda data: (len(data), data))
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.txt").write_text("".join(base64.b64encode(data).decode() + "\n" for data in kept), encoding="ascii")
    return len(kept)
