"""Histograms of values, stacked by label (paper Fig. 14)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dcnn_fast.printable import printable
from dcnn_fast.viz.picture_files import save_figure


@dataclass(frozen=True)
class Distribution:
    """One panel of histograms.

    Args:
        title: The name of the values, under the horizontal axis.
        values: By the name of the true label, the values of its photographs.
    """

    title: str
    values: Mapping[str, np.ndarray]


def save_distributions(panels: Sequence[Distribution], path: Path) -> None:
    """Draw a histogram of each panel beside the others, and write them to a file.

    Args:
        panels: At least one; all of them have the same labels.
        path: The file to write, a .png or .svg by its suffix.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - optional dependency

    figure = Figure(figsize=(4.5 * len(panels), 3.2), layout="constrained")
    for axes, panel in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        axes.hist(list(panel.values.values()), bins=30, stacked=True, label=[printable(label) for label in panel.values])
        axes.set_xlabel(printable(panel.title), parse_math=False)
        axes.set_ylabel("photographs")
    legend = axes.legend(fontsize="small", ncols=1 + len(panels[-1].values) // 8)
    for text in legend.get_texts():
        text.set_parse_math(False)  # a label's dollars are dollars
    save_figure(figure, path)
