"""How a collection's run is dealt out: its photographs in shards, and the settings of their scores, as files in one folder.

FOLDER/run.json             the settings that decide the scores, and the number of shards (schema "batch-run.v1.json")
FOLDER/lists/00000.jsonl    the photographs of a shard, a line each (schema "batch-listed.v1.json")
FOLDER/scores/00000.parquet its rows, once it is done (`shards`)
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dcnn_fast import former, strict_json
from dcnn_fast.batch.callable import require_options
from dcnn_fast.batch.errors import BatchError
from dcnn_fast.batch.keys import deciding, differing, shard_of
from dcnn_fast.batch.listing import Listed
from dcnn_fast.batch.places import exists, joined, read, write
from dcnn_fast.scoring import Scorer
from dcnn_fast.version import version

_FORMAT = 1
_FORMER = {"views": "samples"}  # options in deals of earlier versions
_MOST_SHARDS = 100_000
_IN_MEMORY = 2**28  # bytes of lists kept in memory before they go to temporary files


@dataclass(frozen=True)
class Deal:
    """A collection divided among shards, as its folder records it.

    Attributes:
        shards: The number of shards.
        settings: Everything that determines a score, with the model's digest.
        model: The path of the model's file, None for the shipped one.
        options: The options of `Scorer`.
        photographs: The number of photographs.
        version: The version of the program that made the deal.
        lines: The number of photographs in each shard's list, None in a deal by an earlier version.
        being_made: Whether the lists are still incomplete.
    """

    shards: int
    settings: dict[str, str]
    model: str | None
    options: dict[str, Any]
    photographs: int
    version: str
    lines: list[int] | None = None
    being_made: bool = False


@former.renamed(views="samples")
def deal_shards(
    photographs: Iterable[Listed], folder: str, shards: int, *, model: str | None = None, **options: Any
) -> Deal:  # fmt: skip
    """Divide the photographs among shards and write the deal into a folder.

    In a folder that already has a deal, the lists are rebuilt; unchanged photographs keep their scores. A photograph's shard
    follows from its path alone. Dealing that was killed can be resumed.

    Args:
        photographs: The collection, as `listing` gives it.
        folder: The deal's folder, which is local or in an object store.
        shards: The number of shards, 1 to 100,000; aim at some minutes of work in each, about 10,000 photographs, as a lost
            shard is done again.
        model: The path of a model file, as `ScoreBatch` takes it; None: the shipped one.
        **options: As `ScoreBatch` takes them; they must be JSON's values.

    Returns:
        The deal.

    Raises:
        BatchError: `shards` or an option breaks a rule; or the folder has a deal with another number of shards, another model
            or other settings, or lists or scores without a deal.
        ValueError: An option is out of range.
    """
    require_options(options)
    if isinstance(shards, bool) or not isinstance(shards, int) or not 1 <= shards <= _MOST_SHARDS:
        raise BatchError(f"shards must be an integer from 1 to {_MOST_SHARDS}, got {shards!r}")
    settings = deciding(Scorer(model, **options))
    _require_same(folder, shards, settings)
    with tempfile.TemporaryDirectory() as scratch:
        lists = _Lists(Path(scratch), shards)
        count = sum(map(lists.add, photographs))
        deal = Deal(shards, settings, model, options, count, version(), lists.counts(), being_made=True)
        _write(folder, deal)
        for number in range(shards):
            write(list_of(folder, number), lists.content(number))
    deal = replace(deal, being_made=False)
    _write(folder, deal)
    return deal


def read_deal(folder: str) -> Deal:
    """Read the deal in a folder.

    Args:
        folder: The deal's folder, which is local or in an object store.

    Returns:
        The deal.

    Raises:
        BatchError: There is no readable deal or an unfinished one.
    """
    deal = _found(folder)
    if deal.being_made:
        raise BatchError(f"the deal in {folder} was not finished: deal_shards makes it anew")
    return deal


def _write(folder: str, deal: Deal) -> None:
    write(joined(folder, "run.json"), (json.dumps({"dcnn_fast_batch": _FORMAT, **asdict(deal)}, indent=1) + "\n").encode())


def _found(folder: str) -> Deal:
    content = read(joined(folder, "run.json"))
    if content is None:
        raise BatchError(f"{folder} has no deal: deal_shards makes one")
    try:
        found = strict_json.loads(content)
        if found.pop("dcnn_fast_batch") != _FORMAT:
            raise ValueError(f"dcnn_fast_batch must be {_FORMAT}")
        found["options"] = {_FORMER.get(name, name): value for name, value in found["options"].items()}
        return Deal(**found)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BatchError(f"the deal {folder}/run.json cannot be read: {error}") from None


def list_of(folder: str, number: int) -> str:
    """The path of a shard's list."""
    return joined(folder, "lists", f"{number:05d}.jsonl")


def scores_of(folder: str, number: int) -> str:
    """The path of a shard's rows, once it is done."""
    return joined(folder, "scores", f"{number:05d}.parquet")


def photographs_of(folder: str, number: int, deal: Deal) -> Sequence[Listed]:
    """The photographs of a shard, each once. Raises BatchError, also for an incomplete list."""
    content = read(list_of(folder, number))
    if content is None:
        raise BatchError(f"the deal in {folder} has no list of shard {number}")
    try:
        lines = [json.loads(line) for line in content.splitlines()]
        if deal.lines is not None and len(lines) != deal.lines[number]:
            raise ValueError(f"it has {len(lines)} lines, and {deal.lines[number]} in the deal")
        return list({each["path"]: Listed(each["path"], each["version"]) for each in lines}.values())
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise BatchError(f"{list_of(folder, number)} cannot be read: {error}") from None


def _require_same(folder: str, shards: int, settings: dict[str, str]) -> None:
    if read(joined(folder, "run.json")) is None:
        there = next((name for name in ("lists", "scores") if exists(joined(folder, name))), None)
        if there is not None:
            raise BatchError(f"{folder} has {there} and no deal that they are of: choose another folder")
        return
    before = _found(folder)
    shares = [f"{before.shards} shards (here {shards})"] if before.shards != shards else []
    if others := shares + differing(before.settings, settings):
        raise BatchError(f"{folder} has a deal of {', '.join(others)}: choose another folder")


class _Lists:
    """The lists of all shards: in memory while they are small, else in temporary files, one of which is open at a time."""

    def __init__(self, scratch: Path, shards: int) -> None:
        self._scratch, self._shards = scratch, shards
        self._lines: dict[int, list[bytes]] = {}
        self._held = 0
        self._counts = [0] * shards

    def counts(self) -> list[int]:
        """The number of lines of each list."""
        return self._counts

    def add(self, photograph: Listed) -> int:
        """Add a photograph; returns 1."""
        line = (json.dumps(asdict(photograph)) + "\n").encode()
        shard = shard_of(photograph.path, self._shards)
        self._lines.setdefault(shard, []).append(line)
        self._counts[shard] += 1
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


def shard_numbers(deal: Deal) -> Iterator[int]:
    """The numbers of all shards."""
    return iter(range(deal.shards))


__getattr__ = former.names(__name__, {"Plan": "Deal", "plan_shards": "deal_shards", "read_plan": "read_deal"})
