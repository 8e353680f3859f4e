"""Reads predictions from a file by this or another program: probabilities of labels, or one score for each photograph."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dcnn_fast.data import DataSet, Example
from dcnn_fast.data.fields import NAMES, numbers_of, require_once, votes_of
from dcnn_fast.data.foreign_tables import columns_of_votes
from dcnn_fast.data.spreadsheets import Row, Sheet, plain, read_sheet
from dcnn_fast.evaluation.histograms import RATINGS, are_ratings, of_ratings, shares, width_of
from dcnn_fast.evaluation.predict import Predictions
from dcnn_fast.printable import quoted, shortened

_KEYS = ("key", *NAMES["path"])
_SCORES = ("score", "mean", "prediction", "predicted", "probability", "rating", "mos")
_SHARES = ("", "p", "r", "prob", "probability", "share", "vote", "votes", "rating", "score", "bin", "dist", "hist", "count")
_NONE = "the file has no prediction of it"


@dataclass(frozen=True)
class FromFile:
    """Predictions by their model's name, "" where the file gives none, and notes about the file for the user."""

    predictions: dict[str, Predictions]
    notes: tuple[str, ...]


def read_predictions(path: Path, data: DataSet, examples: Sequence[Example]) -> FromFile:
    """The predictions in a CSV file for some examples of a set.

    The file has a column of the photographs' keys or paths (below its own folder, or the current one), and either a column
    p_LABEL for each of the set's labels, as `evaluate --csv` writes, or a column of scores, as `score --csv` writes: scores
    from 0 to 1 are the probability of the last of two labels; others are ratings, for which P is linear and one half at the
    set's threshold. Ten columns with one name and consecutive numbers are the predicted shares of the ratings, which have an
    EMD; without other columns their means are the scores. Rows of `evaluate --csv` belong to their model; a row without a
    prediction whose column `error` says why is skipped. An example without a prediction is in `errors`. Raises ValueError
    naming the fault: columns, numbers, a repeated photograph, or no prediction for any example.
    """
    sheet = read_sheet(path, _KEYS)
    key = _one(path, sheet, "photographs", _KEYS)
    ours = {"model", "key", "true"} <= set(sheet.head)  # in other files `model` may be a camera's
    of_model: dict[str, list[Row]] = {}
    for row in sheet.rows:
        of_model.setdefault((row["model"] or "") if ours else "", []).append(row)
    found: dict[str, Predictions] = {}
    notes: list[str] = []
    for name, every in of_model.items():
        mine = _predicted(sheet, every, data.labels)
        said = _said(path, sheet, mine, data)
        found[name], more = _of_examples(path, data.labels, examples, [row[key] or "" for row in mine], said)
        how = said.how
        notes += [f"{path.name}{': ' if name else ''}{name}: {each}" for each in (how, *more)]
    if not found:
        raise ValueError(f"{path}: must have a row for each photograph, got none")
    return FromFile(found, tuple(dict.fromkeys(notes)))


@dataclass(frozen=True)
class _Said:
    """The rows' contents: probabilities [n, labels], how the columns were interpreted, shares of ratings [n, 10] where present,
    and the scale of scores, `Predictions.widest`.
    """

    probs: np.ndarray
    how: str
    histograms: np.ndarray | None = None
    widest: float | None = None


def _predicted(sheet: Sheet, rows: Sequence[Row], labels: Sequence[str]) -> list[Row]:
    """The rows except those with an error instead of a prediction; beside a prediction, `error` is another program's number."""
    columns = [name for name in sheet.head if name in {f"p_{label}" for label in labels} or plain(name) in _SCORES]
    columns += _histogram(sheet.head)
    return [row for row in rows if not (row["error"] or "").strip() or any((row[name] or "").strip() for name in columns)]


def _of_examples(
    path: Path, labels: tuple[str, ...], examples: Sequence[Example], names: Sequence[str], said: _Said
) -> tuple[Predictions, list[str]]:
    numbers = _numbers_of(path, names)
    taken = [numbers(example) for example in examples]
    rows = [number for number in taken if number is not None]
    if not rows:
        raise ValueError(
            f"{path}: must have predictions of the set's photographs, as {quoted(examples[0].key)}, got none of them"
        )
    if len(set(rows)) < len(rows):
        raise ValueError(f"{path}: {quoted(names[max(rows, key=rows.count)])} must be one photograph of the set, got two")
    read_ones = tuple(example for example, number in zip(examples, taken, strict=True) if number is not None)
    errors = {example.key: _NONE for example, number in zip(examples, taken, strict=True) if number is None}
    left = len(names) - len(rows)
    notes = [f"{left} of its {len(names)} rows are of no photograph that is measured"] if left else []
    histograms = None if said.histograms is None else said.histograms[rows]
    spread = np.full(len(rows), np.nan)
    return Predictions(labels, read_ones, said.probs[rows], spread, errors, histograms, said.widest), notes


def _numbers_of(path: Path, names: Sequence[str]) -> Callable[[Example], int | None]:
    """The row of an example, found by its key or by the file at its path. Raises ValueError for a repeated name."""
    by_key: dict[str, int] = {}
    for number, name in enumerate(names):
        if by_key.setdefault(os.path.normpath(name), number) != number:
            raise ValueError(f"{path}: must have one prediction of each photograph, got two of {quoted(name)}")
    by_file = {os.path.realpath(os.path.join(path.parent, name)): number for name, number in by_key.items()}
    by_file |= {os.path.realpath(name): number for name, number in by_key.items()}

    def number_of(example: Example) -> int | None:
        found = by_key.get(os.path.normpath(example.key))
        return by_file.get(os.path.realpath(example.source)) if found is None and isinstance(example.source, str) else found

    return number_of


def _histogram(head: Sequence[str]) -> tuple[str, ...]:
    """The ten columns of predicted ratings; none where the numbered columns may be anything, such as features."""
    columns = columns_of_votes(head)
    return columns if columns and plain(columns[0]).rstrip("_0123456789. -") in _SHARES else ()


def _said(path: Path, sheet: Sheet, rows: Sequence[Row], data: DataSet) -> _Said:
    """The rows' predictions for a set's labels, and for ratings where there are ten columns of them."""
    votes = () if are_ratings(data.labels) else _histogram(sheet.head)
    if not any((row[name] or "").strip() for row in rows for name in votes):  # they belong to another model of the file
        return _probabilities(path, sheet, rows, data)
    require_once(path, sheet.head, votes)
    histograms = shares(votes_of(path, rows, votes, decimal_comma=sheet.decimal_comma)) if rows else np.zeros((0, len(RATINGS)))
    told = f"{votes[0]} to {votes[-1]} are shares of the ratings 1 to 10"
    if any(plain(name) in _SCORES or name == f"p_{data.labels[-1]}" for name in sheet.head):
        said = _probabilities(path, sheet, rows, data)
        return replace(said, how=f"{said.how}; {told}", histograms=histograms)
    if data.threshold is None or len(data.labels) != 2:
        raise ValueError(f"{path}: {told}, which say nothing of the labels {shortened(data.labels)}, made of no ratings")
    probs = of_ratings(histograms @ RATINGS, data.threshold, data.high)
    return _Said(probs, f"{told}, {data.labels[data.high]} where their mean is above {data.threshold:g}", histograms)


def _probabilities(path: Path, sheet: Sheet, rows: Sequence[Row], data: DataSet) -> _Said:
    """[n, labels], and how the columns were interpreted."""
    columns = [f"p_{label}" for label in data.labels]
    if set(columns) <= set(sheet.head):
        require_once(path, sheet.head, columns)
        probs = np.stack([_column(path, sheet, rows, column) for column in columns], axis=1)
        if (probs < 0).any() or (abs(probs.sum(axis=1) - 1) > 0.001).any():
            raise ValueError(f"{path}: {shortened(columns)} must be probabilities, which sum to 1")
        return _Said(probs, f"{columns[-1]} is P({data.labels[-1]})")
    column = _one(path, sheet, "scores, or " + shortened(columns), _SCORES)
    if len(data.labels) != 2:
        raise ValueError(f"{path}: must have the columns {shortened(columns)} for a set of {len(data.labels)} labels")
    scores = _column(path, sheet, rows, column)
    ratings = [example.rating for example in data.examples if np.isfinite(example.rating)]
    within = bool(((scores >= 0) & (scores <= 1)).all())
    if within and ratings and max(ratings) <= 1:
        raise ValueError(
            f"{path}: {column} could be probabilities or ratings, which both are 0 to 1; call it p_{data.labels[-1]}"
        )
    if within:
        return _Said(np.stack([1 - scores, scores], axis=1), f"{column} is P({data.labels[-1]})")
    if data.threshold is None:
        raise ValueError(f"{path}: {column} must be probabilities, 0 to 1, for a set whose labels are of no ratings")
    widest = width_of(scores, data)
    probs = of_ratings(scores, data.threshold, data.high, widest)
    return _Said(probs, f"{column} is a rating, {data.labels[data.high]} above {data.threshold:g}", widest=widest)


def _column(path: Path, sheet: Sheet, rows: Sequence[Row], column: str) -> np.ndarray:
    return numbers_of(path, rows, column, decimal_comma=sheet.decimal_comma)


def _one(path: Path, sheet: Sheet, what: str, names: Sequence[str]) -> str:
    found = [name for name in sheet.head if plain(name) in names]
    if len(found) != 1:
        raise ValueError(f"{path}: must have one column of {what}, got {shortened(found or sheet.head)}")
    return found[0]
