"""Photographs of one category, and those of them that have an artistic style (paper Fig. 10)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dcnn_fast.data import DataSet, Example
from dcnn_fast.viz.grid import Row

_PER_ROW = 8


def category_examples(data: DataSet, category: str, count: int, seed: int = 0) -> list[Row]:
    """Choose photographs that show a category, and below them as many of those that have a style.

    Args:
        data: A set with attributes, which are the styles.
        category: The category, by its name in the set.
        count: Photographs of each kind; fewer are shown where there are not so many.
        seed: Seeds the choice.

    Returns:
        Rows of up to eight photographs, a title at the first row of each kind. The caption is the label, or the style.

    Raises:
        ValueError: The set has no styles, no photograph shows the category, or none of those that show it has a style.
    """
    if not data.attributes:
        raise ValueError("the set must say which styles photographs have, got none")
    shown = [example for example in data.examples if example.category == category]
    if not shown:
        known = ", ".join(data.categories) or "none"
        raise ValueError(f"category must be one that photographs show, {known}; got {category!r}")
    styled = [example for example in shown if example.attribute >= 0]
    if not styled:
        raise ValueError(f"photographs that show {category} must have a style, got none of {len(shown)} that has")
    return [
        *_rows(f"{category}: {len(shown)} photographs", shown, [data.labels[e.label] for e in shown], count, seed),
        *_rows(
            f"{category} with an artistic style: {len(styled)}", styled, [data.attributes[e.attribute] for e in styled], count,
            seed,
        ),
    ]  # fmt: skip


def _rows(title: str, examples: Sequence[Example], captions: Sequence[str], count: int, seed: int) -> list[Row]:
    """Rows of eight under one title."""
    chosen = sorted(np.random.default_rng(seed).permutation(len(examples))[:count].tolist())
    pairs = [(examples[i].source, captions[i]) for i in chosen]
    parts = [pairs[at : at + _PER_ROW] for at in range(0, len(pairs), _PER_ROW)]
    return [Row(title if not number else "", part) for number, part in enumerate(parts)]
