"""Evaluates the held-out predictions: metrics over seeds, intervals over themes, differences between models."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score

from studies.oasis.study import Prepared

DRAWS = 1000
METRICS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], float]] = {
    "auc": lambda high, ratings, scores: float(roc_auc_score(high, scores)),
    "accuracy": lambda high, ratings, scores: float(accuracy_score(high, scores > 0.5)),
    "balanced accuracy": lambda high, ratings, scores: float(balanced_accuracy_score(high, scores > 0.5)),
    "srcc": lambda high, ratings, scores: float(spearmanr(scores, ratings).statistic) if np.ptp(scores) else 0.0,
}
DIFFERENCES = (
    ("DCNN", "SCNN local"), ("DCNN", "SCNN global"), ("DCNN", "AVG_SCNN"), ("RDCNN", "DCNN"), ("RDCNN", "semantic column"),
    ("semantic column", "category"), ("adapt", "generic"), ("adapt", "cats"),
)  # fmt: skip


def measured(prepared: Prepared, out: Path) -> dict[str, Any]:
    """Every model's metrics: the mean over seeds, all held-out pictures pooled, with 95 % intervals over themes."""
    scores = _pooled(out, len(prepared.rated))
    draws = _draws(prepared.themes)
    models: dict[str, dict[str, Any]] = {}
    auc: dict[str, tuple[float, np.ndarray]] = {}
    for name, seeds in scores.items():
        models[name] = {"seeds": len(seeds)}
        for metric, of in METRICS.items():
            value, spread = _over_seeds(of, prepared, seeds, np.arange(len(prepared.rated)))
            resampled = np.array([_over_seeds(of, prepared, seeds, rows)[0] for rows in draws])
            models[name][metric] = _interval(value, resampled) | {"over seeds": spread}
            if metric == "auc":
                auc[name] = value, resampled
    differences = {
        f"{a} - {b}": _interval(auc[a][0] - auc[b][0], auc[a][1] - auc[b][1]) for a, b in DIFFERENCES if {a, b} <= set(auc)
    }
    return {
        "pictures": len(prepared.rated), "themes": len(set(prepared.themes)), "models": models, "auc differences": differences,
        "categories": _by_category(prepared, scores),
    }  # fmt: skip


def write(results: dict[str, Any], path: Path) -> None:
    """Print the results as the tables of the report, in Markdown, and write them as JSON."""
    path.write_text(json.dumps(results, indent=1) + "\n")
    print(markdown(results))


def markdown(results: dict[str, Any]) -> str:
    """The tables of the report: every model, differences of AUC, and the three methods for a category."""
    ways = ("cats", "generic", "adapt", "RDCNN")
    models = [[name, *(_said(found[metric]) for metric in METRICS)] for name, found in results["models"].items()]
    differences = [[name, _said(found)] for name, found in results["auc differences"].items()]
    categories = [
        [name, str(found["pictures"]), f"{found['high']:.2f}", *(f"{found[way]:.3f}" for way in ways)]
        for name, found in results["categories"].items()
    ]
    return "\n\n".join([
        _table(["model", *METRICS], models), _table(["difference of AUC", ""], differences),
        _table(["category", "photographs", "high", *ways], categories),
    ])  # fmt: skip


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def _pooled(out: Path, count: int) -> dict[str, list[np.ndarray]]:
    """For every model and complete seed, each picture's score by the network that did not see its theme."""
    files: dict[int, list[Path]] = {}
    for path in sorted(out.glob("seed*-fold*.npz")):
        found = re.fullmatch(r"seed(\d+)-fold\d+\.npz", path.name)
        if found:
            files.setdefault(int(found[1]), []).append(path)
    pooled: dict[str, list[np.ndarray]] = {}
    for seed in sorted(files):
        scores: dict[str, np.ndarray] = {}
        for path in files[seed]:
            with np.load(path) as kept:
                for name in kept.files:
                    if name != "test":
                        scores.setdefault(name, np.full(count, np.nan))[kept["test"]] = kept[name]
        if all(np.isfinite(values).all() for values in scores.values()):
            for name, values in scores.items():
                pooled.setdefault(name, []).append(values)
    return pooled


def _draws(themes: np.ndarray) -> list[np.ndarray]:
    """The pictures of themes drawn with replacement."""
    rng, names = np.random.default_rng(0), np.unique(themes)
    rows = {name: np.flatnonzero(themes == name) for name in names}
    return [np.concatenate([rows[name] for name in rng.choice(names, len(names))]) for _ in range(DRAWS)]


def _over_seeds(
    of: Callable[[np.ndarray, np.ndarray, np.ndarray], float], prepared: Prepared, seeds: list[np.ndarray], rows: np.ndarray
) -> tuple[float, float]:
    high, ratings = prepared.high[rows], prepared.ratings[rows]
    values = [of(high, ratings, scores[rows]) for scores in seeds]
    return float(np.mean(values)), float(np.std(values))


def _interval(value: float, resampled: np.ndarray) -> dict[str, float]:
    low, high = np.quantile(resampled, [0.025, 0.975])
    return {"value": round(value, 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def _by_category(prepared: Prepared, scores: dict[str, list[np.ndarray]]) -> dict[str, Any]:
    """AUC within each category."""
    found = {}
    for category in np.unique(prepared.categories):
        rows = np.flatnonzero(prepared.categories == category)
        found[str(category)] = {
            "pictures": len(rows),
            "high": float(prepared.high[rows].mean()),
            **{name: _over_seeds(METRICS["auc"], prepared, seeds, rows)[0] for name, seeds in scores.items()},
        }
    return found


def _said(found: dict[str, float]) -> str:
    return f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"
