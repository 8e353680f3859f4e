"""A model file's provenance as lines of text: its training data, method and result."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from dcnn_fast.printable import printable, shortened

_TIMES = ("seconds", "images_per_second", "images", "skipped", "epoch", "step")
_LONGEST = 200  # characters shown of a value that another program wrote


def lines_of(provenance: Mapping[str, Any]) -> list[str]:
    """A line for each part of a model file's provenance; parts that this program did not write are shown raw, shortened."""
    found: list[str] = []
    for name, value in provenance.items():
        if name == "training" and isinstance(value, dict):
            found += _of_training(value)
        else:
            found.append(f"{name}: {_short(value)}")
    return [printable(line) for line in found]


def _of_training(training: Mapping[str, Any]) -> Iterator[str]:
    settings, data, measures = (_table(training.get(name)) for name in ("settings", "data", "measures"))
    if "epoch" in training:
        of, version = settings.get("epochs"), training.get("version")
        steps = f"{_short(training.get('steps'))} steps, by version {_short(version)}"
        yield f"trained  {_short(training['epoch'])} of {_short(of)} epochs, {steps}"
    if data:
        yield "learnt from  " + ", ".join(_of_data(data))
    changed = list(_changed(settings))
    if settings:
        yield "settings  " + (", ".join(changed) or "all as by default")
    rates = training.get("rates")
    if isinstance(rates, list) and rates:
        yield "rates of weights and biases  " + ", then ".join(map(_span, rates))
    numbers = [f"{name} {value:.4g}" for name, value in measures.items() if name not in _TIMES and _is_number(value)]
    if numbers:
        yield "measures  " + ", ".join(numbers)


def _of_data(data: Mapping[str, Any]) -> Iterator[str]:
    yield f"{_short(data.get('train'))} photographs, {_short(data.get('test'))} held out"
    if isinstance(data.get("labels"), list):
        yield "labels " + shortened([str(label) for label in data["labels"]])
    if _is_number(data.get("threshold")):
        yield f"high above {data['threshold']:g}"
    fold = data.get("fold")
    if isinstance(fold, list) and len(fold) == 3:
        yield f"part {_short(fold[0])} of {_short(fold[1])} held out, split seed {_short(fold[2])}"


def _changed(settings: Mapping[str, Any]) -> Iterator[str]:
    """The settings that differ from their defaults."""
    from dcnn_fast.training.settings import Settings, by_present_names  # noqa: PLC0415 - imports torch

    usual = Settings().to_dict()
    for name, value in by_present_names(settings).items():
        if name == "layer_rules" and value:
            yield "rates of each layer, by layer files"
        elif name not in usual or usual[name] != value:
            yield f"{name} {_short(value)}"


def _span(span: Any) -> str:
    if not isinstance(span, list) or len(span) != 3 or not all(map(_is_number, span)):
        return _short(span)
    return f"{span[1]:g} and {span[2]:g} from step {span[0]:g}"


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _short(value: Any) -> str:
    numbers = isinstance(value, list) and all(isinstance(each, (int, float)) for each in value)
    return shortened([",".join(map(str, value)) if numbers else str(value)], longest=_LONGEST)
