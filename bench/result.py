"""A run's result: a JSON file of its findings, machine and sources."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench import sources
from bench.effort import FULL
from bench.row import Row
from bench.sources import Digests, State

FOLDER = sources.ROOT / "bench" / "results"


@dataclass(frozen=True)
class Result:
    """machine, limits: `machine.describe` and `machine.limits`. measured: date and commit; None in older files, where `effort`
    and `digests` are empty, too.

    effort: the sizes (`effort.Effort`). threads: the measured numbers. digests: for each completed suite, digests of the
    sources that determine its figures. contract: the work that a time contains. refused, failed, missed, unjudged: sentences on
    rivals without a time, incomplete suites, missed floors, and floors without a row.
    """

    machine: Mapping[str, Any]
    limits: Mapping[str, float]
    measured: State | None = None
    effort: Mapping[str, Any] = field(default_factory=dict)
    threads: tuple[int, ...] = ()
    digests: Mapping[str, Digests] = field(default_factory=dict)
    contract: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    refused: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    unjudged: tuple[str, ...] = ()

    @property
    def suites(self) -> tuple[str, ...]:
        """The suites with figures."""
        return tuple(dict.fromkeys(row.suite for row in self.rows))

    def changed(self, root: Path = sources.ROOT) -> dict[str, tuple[str, ...]]:
        """The suites with figures from other than the present sources, each with the differences; all, where the file does not
        say.
        """
        return sources.changed({suite: self.digests.get(suite, {}) for suite in self.suites}, root)

    @property
    def whole(self) -> bool:
        """Whether everything was measured at the full sizes."""
        full = json.loads(json.dumps(FULL.as_dict()))
        return self.effort == full and set(self.digests) == set(sources.DECIDED_BY)

    def as_json(self) -> str:
        """The file's text; `machine` comes first, which identifies such a file."""
        return json.dumps(asdict(self), indent=1) + "\n"


def read(path: Path) -> Result:
    """The result in a file. Raises ValueError naming the file when it holds no result."""
    try:
        found = json.loads(path.read_text())
        known = {name: found[name] for name in Result.__dataclass_fields__ if name in found}
        for name in ("threads", "contract", "refused", "failed", "missed", "unjudged"):
            known[name] = tuple(known.get(name, ()))
        known["rows"] = tuple(Row(**row) for row in known["rows"])
        known["measured"] = State(**known["measured"]) if known.get("measured") else None
        return Result(**known)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is no result of the benchmark: {error}") from None


def committed(folder: Path = FOLDER) -> dict[Path, Result]:
    """The results in a folder, the latest first. Raises ValueError for any other file, except the counts of kernels and
    `gpu-*.json` of `python -m tools.gpu_check --write`, which are skipped.
    """
    others = ("kernel-counts.json", *(path.name for path in folder.glob("gpu-*.json")))
    found = {path: read(path) for path in sorted(folder.glob("*.json")) if path.name not in others}
    return dict(sorted(found.items(), key=lambda item: item[1].measured.date if item[1].measured else "", reverse=True))
