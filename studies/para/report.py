"""Evaluates the predictions: each network, the differences in the paper's claims, categories and attributes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from studies.para.collection import FOLDS, Collection
from studies.para.recipe import Recipe
from studies.para.running import Place
from studies.para.steps import Step

Measure = Callable[[np.ndarray, np.ndarray, np.ndarray], float]  # from high, ratings, P(high)
MEASURES: Mapping[str, Measure] = {
    "AUC": lambda high, ratings, p: float(roc_auc_score(high, p)),
    "Spearman": lambda high, ratings, p: float(spearmanr(p, ratings).statistic) if np.ptp(p) else 0.0,
    "accuracy": lambda high, ratings, p: float(((p > 0.5) == high).mean()),
}


_ALONE, _BOTH = "rating alone", "rating and attribute"
_BY_FOLD = (_ALONE, _BOTH)  # groups with one network per fold, judged within their folds
_BY_CATEGORY = ("cats", "adapt")  # groups with one network per category and fold, shown in a separate table


@dataclass(frozen=True)
class Claim:
    """The paper's claim about two networks, by their groups' names."""

    text: str
    better: str
    worse: str


CLAIMS = (
    Claim("two columns are better than one, local (III-B)", "DCNN", "SCNN local"),
    Claim("two columns are better than one, warped (III-B)", "DCNN", "SCNN warp"),
    Claim("trained together they are better than two averaged (III-B)", "DCNN", "AVG_SCNN"),
    Claim("a frozen column helps (III-E)", "RDCNN", "DCNN"),
    Claim("the trained columns help the frozen one", "RDCNN", "Lite0 column"),
    Claim("the warped view is better than the local one (Table I)", "SCNN warp", "SCNN local"),
)


@dataclass(frozen=True)
class Found:
    """P(high) of the collection's photographs by one seed of one group; NaN where not predicted."""

    group: str
    seed: int
    high: np.ndarray


def collect(collection: Collection, recipe: Recipe, steps: Sequence[Step], place: Place) -> list[Found]:
    """All available predictions: steps, the average of two SCNNs, ridge, the shipped model, and the larger class."""
    rows = {photograph.name: row for row, photograph in enumerate(collection.photographs)}
    pooled: dict[tuple[str, int], np.ndarray] = {}

    def add(name: str, group: str, seed: int) -> None:
        path = place.predictions(name)
        if path.exists():
            values = pooled.setdefault((group, seed), np.full(len(rows), np.nan))
            for key, high in _read(path):
                values[rows[Path(key).name]] = high

    for step in steps:
        add(step.name, step.group, step.seed)
    for size in _sizes(collection, recipe):
        for seed in range(recipe.seeds):
            add(f"ridge-{size}-seed{seed}", f"Lite0 + ridge {size}", seed)
            both = [pooled.get((f"{kind} {size}", seed)) for kind in ("SCNN local", "SCNN warp")]
            if both[0] is not None and both[1] is not None:
                pooled[f"AVG_SCNN {size}", seed] = (both[0] + both[1]) / 2
    add("shipped", "shipped model", 0)
    share = (collection.ratings[collection.train] > collection.threshold).mean()
    constant = np.full(len(rows), np.nan)
    constant[collection.test] = float(share > 0.5)
    pooled["larger class", 0] = constant
    return [Found(group, seed, values) for (group, seed), values in pooled.items()]


def _sizes(collection: Collection, recipe: Recipe) -> list[int]:
    return sorted({*(size for size in recipe.sizes if size < len(collection.train)), len(collection.train)})


def _read(path: Path) -> list[tuple[str, float]]:
    with path.open(newline="") as file:
        return [(row["key"], float(row["p_high"])) for row in csv.DictReader(file) if row["p_high"]]


def figures(collection: Collection, recipe: Recipe, found: Sequence[Found]) -> dict[str, Any]:
    """Every figure of the report: means over the available seeds, 95 % intervals over sessions."""
    judge = _Judge(collection, found, recipe.resamples)
    whole = [group for group in judge.groups if judge.complete(group)]
    differences: dict[str, Any] = {}
    for size in _sizes(collection, recipe):
        for said in CLAIMS:
            better, worse = f"{said.better} {size}", f"{said.worse} {size}"
            if better in whole and worse in whole and judge.common(better, worse):
                differences[f"{better} - {worse}"] = {"claim": said.text, "size": size, **judge.difference(better, worse)}
    if {_BOTH, _ALONE} <= set(whole):
        claim = "learning attributes beside the rating helps (eq. 3)"
        differences[f"{_BOTH} - {_ALONE}"] = {"claim": claim, "size": 0, **judge.difference(_BOTH, _ALONE)}
    return {
        "photographs": {"train": len(collection.train), "test": len(collection.test), "in both": collection.doubles},
        "threshold": collection.threshold,
        "models": {
            group: {"seeds": len(judge.groups[group]), **judge.measures(group)} for group in whole if group not in _BY_CATEGORY
        },
        "differences": differences,
        "categories": _categories(collection, judge),
    }


class _Judge:
    """Measures of groups, with one set of draws for all of them."""

    def __init__(self, collection: Collection, found: Sequence[Found], draws: int) -> None:
        self._ratings = collection.ratings
        self._high = collection.ratings > collection.threshold
        self._test = collection.test
        self._fold = np.full(len(collection.ratings), -1)
        for number in range(FOLDS):
            self._fold[collection.fold(number)[1]] = number
        self.groups: dict[str, dict[int, np.ndarray]] = {}
        for each in found:
            self.groups.setdefault(each.group, {})[each.seed] = each.high
        names, rng = sorted(set(collection.sessions[collection.test])), np.random.default_rng(0)
        members = {name: collection.test[collection.sessions[collection.test] == name] for name in names}
        self._draws = [np.concatenate([members[name] for name in rng.choice(names, len(names))]) for _ in range(draws)]

    def common(self, *groups: str) -> list[int]:
        """The seeds common to all groups."""
        return sorted(set.intersection(*(set(self.groups[group]) for group in groups)))

    def complete(self, group: str) -> bool:
        """Whether the group has predictions for every test photograph."""
        return self.says(group, self._test)

    def says(self, group: str, rows: np.ndarray) -> bool:
        """Whether the group has predictions for all these photographs."""
        return all(bool(np.isfinite(values[rows]).all()) for values in self.groups[group].values())

    def value(self, group: str, measure: Measure, rows: np.ndarray, seeds: Sequence[int], *, folds: bool = False) -> float:
        """The mean over the seeds. folds: measure within each fold, weighted by its photographs; always done for networks per
        fold.

        A fold whose photographs are all high or all low has no ranking and is skipped.
        """
        folds = folds or group in _BY_FOLD
        parts = [rows[self._fold[rows] == number] for number in range(FOLDS)] if folds else [rows]
        told = [part for part in parts if 0 < self._high[part].sum() < len(part)]
        if not told:
            return float("nan")
        values = [
            [measure(self._high[part], self._ratings[part], self.groups[group][seed][part]) for part in told] for seed in seeds
        ]
        return float(np.average(np.mean(values, axis=0), weights=[len(part) for part in told]))

    def measures(self, group: str) -> dict[str, Any]:
        """All measures, on the test part."""
        seeds = self.common(group)
        return {
            name: _interval([self.value(group, measure, rows, seeds) for rows in (self._test, *self._draws)])
            for name, measure in MEASURES.items()
        }

    def difference(self, better: str, worse: str) -> dict[str, Any]:
        """The difference of AUC, over the seeds common to both."""
        auc, seeds = MEASURES["AUC"], self.common(better, worse)
        found = [
            self.value(better, auc, rows, seeds) - self.value(worse, auc, rows, seeds) for rows in (self._test, *self._draws)
        ]
        return {"seeds": len(seeds), **_interval(found)}


def _interval(values: Sequence[float]) -> dict[str, Any]:
    """The first value, and the central 95 % range of the others."""
    low, high = np.nanpercentile(values[1:], [2.5, 97.5])
    return {"value": round(values[0], 4), "interval": [round(float(low), 4), round(float(high), 4)]}


def _categories(collection: Collection, judge: _Judge) -> dict[str, Any]:
    """AUC within each category and fold by the three methods (III-C)."""
    ways = {"cats": "cats", "generic": f"DCNN {len(collection.train)}", "adapt": "adapt"}
    found: dict[str, Any] = {}
    if not set(ways.values()) <= set(judge.groups):
        return found
    for category in sorted(set(collection.categories[collection.annotated])):
        rows = collection.annotated[collection.categories[collection.annotated] == category]
        seeds = judge.common(*ways.values())
        if seeds and all(judge.says(group, rows) for group in ways.values()):
            values = {way: judge.value(group, MEASURES["AUC"], rows, seeds, folds=True) for way, group in ways.items()}
            found[str(category)] = {"photographs": len(rows), **{way: round(value, 4) for way, value in values.items()}}
    return found


def verdict(difference: Mapping[str, Any]) -> str:
    """Whether a claim holds here."""
    low, high = difference["interval"]
    return "holds" if low > 0 else "the opposite holds" if high < 0 else "not decided"


def write(found: Mapping[str, Any], out: Path) -> None:
    """Print the tables; write report.json and report.md."""
    (out / "report.json").write_text(json.dumps(found, indent=1) + "\n")
    text = markdown(found)
    (out / "report.md").write_text(text)
    print(text)


def markdown(found: Mapping[str, Any]) -> str:
    """The tables of the report."""
    lines = ["| network and training photographs | seeds | AUC | Spearman | accuracy |", "|---|---|---|---|---|"]
    for name, figure in found["models"].items():
        lines.append(f"| {name} | {figure['seeds']} | {' | '.join(_said(figure[measure]) for measure in MEASURES)} |")
    lines += ["", "| the paper's claim | training photographs | seeds | difference of AUC | |", "|---|---|---|---|---|"]
    for each in found["differences"].values():
        lines.append(f"| {each['claim']} | {each['size'] or '-'} | {each['seeds']} | {_said(each)} | {verdict(each)} |")
    if found["categories"]:
        lines += ["", "| category | photographs | cats | generic | adapt |", "|---|---|---|---|---|"]
        for name, row in found["categories"].items():
            cells = " | ".join(f"{row[way]:.3f}" for way in ("cats", "generic", "adapt"))
            lines.append(f"| {name} | {row['photographs']} | {cells} |")
    return "\n".join(lines) + "\n"


def _said(figure: Mapping[str, Any]) -> str:
    low, high = figure["interval"]
    return f"{figure['value']:.3f} ({low:.3f} to {high:.3f})"
