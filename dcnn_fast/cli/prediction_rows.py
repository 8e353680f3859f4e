"""Predictions as a CSV file, a row for each model and photograph, written by `evaluate --csv` and `crossval`."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence

from dcnn_fast.cli.targets import Kind
from dcnn_fast.evaluation import Predictions

_FIELDS = ("model", "key", "true", "named", "right")  # the fields before the probabilities


def prediction_rows(
    found: Mapping[str, Predictions], text: Callable[[str], str] = str, fold: Mapping[str, int] | None = None
) -> bytes:  # fmt: skip
    """The file's content. found: predictions by their model's name; those of ratings get the shares as fields too.

    text: converts a text for a cell. fold: the held-out part of each photograph, by key, for a field of that name.
    """
    labels = next(iter(found.values())).labels
    rated = any(each.histograms is not None for each in found.values())
    head = [*_FIELDS, *(f"p_{label}" for label in labels), "std", "rating", "category", "error"]
    head += [f"share_{rating}" for rating in range(1, 11)] * rated + ["fold"] * (fold is not None)
    lines = [_line(head)]
    for name, each in found.items():
        for row, example in enumerate(each.examples):
            lines.append(_line([text(name), *_cells(each, row, text, rated), *([] if fold is None else [fold[example.key]])]))
        empty = [""] * (len(labels) + 6)
        shares = [""] * 10 * rated
        lines += [
            _line([text(name), text(key), *empty, text(reason), *shares, *([] if fold is None else [fold[key]])])
            for key, reason in each.errors.items()
        ]
    return "".join(lines).encode("utf-8", "surrogateescape")  # a file's name need not be valid text


def _cells(each: Predictions, row: int, text: Callable[[str], str], rated: bool) -> list[object]:
    """The fields after the model's name, without the fold."""
    example, labels, spread = each.examples[row], each.labels, float(each.spread[row])
    numbers = [*(f"{p:.6f}" for p in each.probs[row]), "" if math.isnan(spread) else f"{spread:.6f}"]
    rating = "" if math.isnan(example.rating) else f"{example.rating:g}"
    true = "+".join(labels[label] for label in each.truth[row])
    texts = (text(example.key), text(true), text(labels[each.named[row]]))
    shares = [] if each.histograms is None else [f"{share:.6f}" for share in each.histograms[row]]
    return [*texts, int(each.right[row]), *numbers, rating, text(example.category), "", *(shares or [""] * 10 * rated)]


def _line(fields: Sequence[object]) -> str:
    """One line. The line terminator has a carriage return only so that the writer quotes carriage returns in cells."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\r\n").writerow(fields)
    return buffer.getvalue().removesuffix("\r\n") + "\n"


def _is_csv(head: bytes) -> bool:
    line = head.removeprefix(b"\xef\xbb\xbf").partition(b"\n")[0].replace(b'"', b"").replace(b";", b",")
    return line.startswith((",".join(_FIELDS) + ",").encode())


PREDICTIONS = Kind("a CSV file of predictions", _is_csv)
