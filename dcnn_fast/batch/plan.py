"""The plan of a collection's run: its photographs in shards, and what decides their scores, as files in one folder.

FOLDER/run.json             what decides the scores, and the number of shards (schema "batch-run.v1.json")
FOLDER/lists/00000.jsonl    the photographs of a shard, a line each (schema "batch-listed.v1.json")
FOLDER/scores/00000.parquet its rows, once it is done (`shards`)
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dcnn_fast import strict_json
from dcnn_fast.batch.callable import require_options
from dcnn_fast.batch.errors import BatchError
from dcnn_fast.batch.keys import shard_of
from dcnn_fast.batch.listing import Listed
from dcnn_fast.batch.places import joined, read, write
from dcnn_fast.scoring import Scorer
from dcnn_fast.scoring.settings import settings_of
from dcnn_fast.version import version

_FORMAT = 1
_MOST_SHARDS = 100_000
_IN_MEMORY = 2**28  # bytes of lists, before they go to temporary files


@dataclass(frozen=True)
class Plan:
    """shards: their number. settings: all that decides a score, with the model's digest. model: the path of its file, None for
    the shipped one. options: of `Scorer`. photographs: how many there are. version: of the program that made the plan.
    """

    shards: int
    settings: dict[str, str]
    model: str | None
    options: dict[str, Any]
    photographs: int
    version: str


def plan_shards(
    photographs: Iterable[Listed], folder: str, shards: int, *, model: str | None = None, **options: Any
) -> Plan:  # fmt: skip
    """Share out the photographs among shards and write the plan into `folder`, of this machine or of a store.

    Of a folder that has a plan the lists are made anew: what was scored before stays done where it has not changed. A
    photograph's shard follows from its path alone. shards: 1 to 100,000; some minutes of work in each, 10,000 photographs or
    so, is right: one that is lost is done again. model, options: as `ScoreBatch` takes them; options must be JSON's values.
    Raises BatchError where the folder has a plan of another number of shards, another model or other settings.
    """
    require_options(options)
    if isinstance(shards, bool) or not isinstance(shards, int) or not 1 <= shards <= _MOST_SHARDS:
        raise BatchError(f"shards must be an integer from 1 to {_MOST_SHARDS}, got {shards!r}")
    settings = settings_of(Scorer(model, **options))
    _require_same(folder, shards, settings)
    with tempfile.TemporaryDirectory() as scratch:
        lists = _Lists(Path(scratch), shards)
        count = sum(map(lists.add, photographs))
        for number in range(shards):
            write(list_of(folder, number), lists.content(number))
    plan = Plan(shards, settings, model, options, count, version())
    write(joined(folder, "run.json"), (json.dumps({"dcnn_fast_batch": _FORMAT, **asdict(plan)}, indent=1) + "\n").encode())
    return plan


def read_plan(folder: str) -> Plan:
    """The plan in a folder. Raises BatchError where there is none that can be read."""
    content = read(joined(folder, "run.json"))
    if content is None:
        raise BatchError(f"{folder} has no plan: plan_shards makes one")
    try:
        found = strict_json.loads(content)
        if found.pop("dcnn_fast_batch") != _FORMAT:
            raise ValueError(f"dcnn_fast_batch must be {_FORMAT}")
        return Plan(**found)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BatchError(f"the plan {folder}/run.json cannot be read: {error}") from None


def list_of(folder: str, number: int) -> str:
    """Where a shard's list is."""
    return joined(folder, "lists", f"{number:05d}.jsonl")


def scores_of(folder: str, number: int) -> str:
    """Where a shard's rows are, once it is done."""
    return joined(folder, "scores", f"{number:05d}.parquet")


def photographs_of(folder: str, number: int) -> Sequence[Listed]:
    """The photographs of a shard, each once. Raises BatchError."""
    content = read(list_of(folder, number))
    if content is None:
        raise BatchError(f"the plan in {folder} has no list of shard {number}")
    try:
        lines = (json.loads(line) for line in content.splitlines())
        return list({each["path"]: Listed(each["path"], each["version"]) for each in lines}.values())
    except (ValueError, TypeError, KeyError) as error:
        raise BatchError(f"{list_of(folder, number)} cannot be read: {error}") from None


def _require_same(folder: str, shards: int, settings: dict[str, str]) -> None:
    if read(joined(folder, "run.json")) is None:
        return
    before = read_plan(folder)
    differing = [f"{before.shards} shards (here {shards})"] if before.shards != shards else []
    for option in dict.fromkeys((*before.settings, *settings)):
        then, now = before.settings.get(option, "off"), settings.get(option, "off")
        if then != now:
            differing.append(f"{option} {then[:12]} (here {now[:12]})")
    if differing:
        raise BatchError(f"{folder} has a plan of {', '.join(differing)}: choose another folder")


class _Lists:
    """The lists of all shards, in memory as far as there is little, else in temporary files, one of which is open at a time."""

    def __init__(self, scratch: Path, shards: int) -> None:
        self._scratch, self._shards = scratch, shards
        self._lines: dict[int, list[bytes]] = {}
        self._held = 0

    def add(self, photograph: Listed) -> int:
        """Enter one; 1."""
        line = (json.dumps(asdict(photograph)) + "\n").encode()
        self._lines.setdefault(shard_of(photograph.path, self._shards), []).append(line)
        self._held += len(line)
        if self._held > _IN_MEMORY:
            for number in list(self._lines):
                self._spill(number)
            self._held = 0
        return 1

    def content(self, number: int) -> bytes:
        """The list of one shard."""
        file = self._scratch / str(number)
        before = file.read_bytes() if file.exists() else b""
        return before + b"".join(self._lines.pop(number, ()))

    def _spill(self, number: int) -> None:
        with (self._scratch / str(number)).open("ab") as file:
            file.writelines(self._lines.pop(number))


def shard_numbers(plan: Plan) -> Iterator[int]:
    """All of them."""
    return iter(range(plan.shards))
