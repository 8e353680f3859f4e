"""Evaluates the held-out probabilities: ratings, calibration, faults; with intervals, as Markdown and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from studies.taste.faults import FAULTS, Fault
from studies.taste.features import CLEAN, Rated
from studies.taste.protocol import SEEDS, Fold, Study, measure

DRAWS, BINS = 1000, 10
Statistic = Callable[[np.ndarray], float]  # from the chosen rows


def measured(study: Study, workers: int) -> dict[str, Any]:
    """Every figure of the report."""
    return figures(study.rated, measure(study, workers))


def figures(rated: Rated, found: Sequence[Fold]) -> dict[str, Any]:
    """Every figure, from the folds; for ratings, the mean over the seeds, all held-out photographs pooled."""
    high = rated.high
    pooled = np.zeros((len(SEEDS), len(high)))
    for fold in found:
        pooled[SEEDS.index(fold.seed), fold.test] = fold.oasis[CLEAN, 0]
    draws = _draws(rated.themes)
    everything = np.arange(len(high))

    def over_seeds(of: Callable[[np.ndarray, np.ndarray], float]) -> dict[str, Any]:
        value: Statistic = lambda rows: float(np.mean([of(p[rows], rows) for p in pooled]))  # noqa: E731 - closes over `of`
        return _interval(value, everything, draws)

    ratings = {
        "AUC": over_seeds(lambda p, rows: float(roc_auc_score(high[rows], p))),
        "Spearman": over_seeds(lambda p, rows: float(spearmanr(p, rated.ratings[rows]).statistic)),
        "accuracy": over_seeds(lambda p, rows: float(((p > 0.5) == high[rows]).mean())),
        "ECE": over_seeds(lambda p, rows: calibration_error(p, high[rows])),
    }
    for category in sorted(set(rated.categories)):
        rows = np.flatnonzero(rated.categories == category)
        within = (each[rated.categories[each] == category] for each in draws)
        both = [each for each in within if 0 < high[each].sum() < len(each)]
        value: Statistic = lambda rows: float(np.mean([roc_auc_score(high[rows], p[rows]) for p in pooled]))  # noqa: E731
        ratings[f"AUC within {category}"] = _interval(value, rows, both)
    return {
        "pictures": len(high), "themes": len(set(rated.themes)), "pressures": [fold.pressure for fold in found],
        "ratings": ratings, "reliability": reliability(pooled, high),
        "faults": {fault.name: {kind: _fault(fault, found, kind) for kind in ("photos", "oasis")} for fault in FAULTS},
    }  # fmt: skip


def calibration_error(p: np.ndarray, high: np.ndarray) -> float:
    """The expected calibration error over ten bins of equal counts."""
    bins = np.array_split(np.argsort(p, kind="stable"), BINS)
    return float(sum(len(rows) * abs(p[rows].mean() - high[rows].mean()) for rows in bins) / len(p))


def reliability(pooled: np.ndarray, high: np.ndarray) -> list[dict[str, float]]:
    """Ten bins of equal counts over all seeds: the mean of P(high) and the share that is high."""
    p, truth = pooled.ravel(), np.tile(high, len(pooled))
    bins = np.array_split(np.argsort(p, kind="stable"), BINS)
    return [{"predicted": float(p[rows].mean()), "high": float(truth[rows].mean()), "count": len(rows)} for rows in bins]


def _fault(fault: Fault, found: Sequence[Fold], kind: str) -> dict[str, Any]:
    """Per strength: the share of photographs that score lower than without the fault, and the mean decrease of P(high)."""
    levels: dict[str, Any] = {}
    for level, strength in fault.levels():
        falls = []
        for fold in found:
            variants = fold.photos if kind == "photos" else fold.oasis
            falls.append(variants[CLEAN, 0] - variants[fault.name, level])
        pooled = np.concatenate(falls)
        rng = np.random.default_rng(0)
        shares = [(pooled[rng.integers(len(pooled), size=len(pooled))] > 0).mean() for _ in range(DRAWS)]
        low, high = np.percentile(shares, [2.5, 97.5])
        levels[str(level)] = {
            "strength": strength, "lower": float((pooled > 0).mean()), "interval": [float(low), float(high)],
            "fall": float(pooled.mean()),
        }  # fmt: skip
    return levels


def _draws(themes: np.ndarray) -> list[np.ndarray]:
    """The rows of themes drawn with replacement."""
    names, rng = sorted(set(themes)), np.random.default_rng(0)
    rows = {name: np.flatnonzero(themes == name) for name in names}
    return [np.concatenate([rows[name] for name in rng.choice(names, len(names))]) for _ in range(DRAWS)]


def _interval(value: Statistic, rows: np.ndarray, draws: Sequence[np.ndarray]) -> dict[str, Any]:
    low, high = np.percentile([value(each) for each in draws], [2.5, 97.5])
    return {"value": value(rows), "interval": [float(low), float(high)]}


# Lower bounds, except an upper bound for ECE.
BARS = {"AUC": 0.85, "Spearman": 0.70, "ECE": 0.06}
CATEGORY_BAR = 0.75


def bars(found: dict[str, Any]) -> list[tuple[str, float, float, bool]]:
    """Every bar: its name, the measured value, the required value, and whether it is met."""
    rows = []
    for name, figure in found["ratings"].items():
        bar = BARS.get(name, CATEGORY_BAR if name.startswith("AUC within") else None)
        if bar is not None:
            value = figure["value"]
            rows.append((name, value, bar, value <= bar if name == "ECE" else value >= bar))
    for fault in FAULTS:
        for kind, levels in found["faults"][fault.name].items():
            share = levels["2"]["lower"]
            rows.append((f"{fault.name}, visible, on {_PHOTOGRAPHS[kind]}", share, fault.bar, share >= fault.bar))
            falls = [levels[level]["fall"] for level in sorted(levels)]
            if len(falls) > 1:
                least = min(after - before for before, after in pairwise(falls))
                rows.append((f"{fault.name}, stronger falls further, on {_PHOTOGRAPHS[kind]}", least, 0.0, least >= 0))
    return rows


_PHOTOGRAPHS = {"photos": "unrated photographs", "oasis": "held-out rated ones"}


def write(found: dict[str, Any], out: Path) -> None:
    """Print the bars; write report.json and report.md."""
    (out / "report.json").write_text(json.dumps(found, indent=1) + "\n")
    text = markdown(found)
    (out / "report.md").write_text(text)
    print(text)


def markdown(found: dict[str, Any]) -> str:
    """The tables of the report."""
    lines = ["| measure | value | 95 % | asked for | |", "|---|---|---|---|---|"]
    judged = {name: (bar, met) for name, _, bar, met in bars(found)}
    for name, figure in found["ratings"].items():
        low, high = figure["interval"]
        bar, met = judged.get(name, (None, None))
        asked = "" if bar is None else f"{'≤' if name == 'ECE' else '≥'} {bar:.2f}"
        lines.append(f"| {name} | {figure['value']:.3f} | {low:.3f} to {high:.3f} | {asked} | {_MET[met]} |")
    lines += ["", *_fault_table(found), "", "| mean P(high) of a tenth | of which are high |", "|---|---|"]
    lines += [f"| {row['predicted']:.3f} | {row['high']:.3f} |" for row in found["reliability"]]
    missed = [f"{name}: {value:.3f} (asked for {bar:.2f})" for name, value, bar, met in bars(found) if not met]
    lines += ["", "Missed: " + ("; ".join(missed) if missed else "nothing") + "."]
    pressures = ", ".join(f"{each:g}" for each in found["pressures"])
    lines += ["", f"Pressures that the inner folds chose, fold by fold: {pressures}."]
    return "\n".join(lines) + "\n"


_MET = {None: "", True: "met", False: "**missed**"}


def _fault_table(found: dict[str, Any]) -> list[str]:
    lines = [
        "| fault | strengths | unrated photographs: lower, % | fall of P(high) | held-out rated: lower, % | fall | asked for |",
        "|---|---|---|---|---|---|---|",
    ]
    for fault in FAULTS:
        cells = [fault.name, _strengths(fault)]
        for kind in ("photos", "oasis"):
            levels = found["faults"][fault.name][kind]
            order = sorted(levels)
            shares = [f"{100 * levels[level]['lower']:.0f}" for level in order]
            cells.append(
                " / ".join(f"**{share}**" if level == "2" else share for level, share in zip(order, shares, strict=True))
            )
            cells.append(" / ".join(f"{levels[level]['fall']:.2f}" for level in order))
        lines.append(f"| {' | '.join(cells)} | {100 * fault.bar:.0f} |")
    return lines


def _strengths(fault: Fault) -> str:
    values = " / ".join(f"{strength:g}" for _, strength in fault.levels())
    return fault.what.replace("{:+g}", values).replace("{:g}", values)
