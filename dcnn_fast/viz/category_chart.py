"""Accuracies by content category, a panel for each network and a bar for each way to train it (paper Fig. 9)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dcnn_fast.printable import printable
from dcnn_fast.viz.picture_files import save_figure

Bars = Mapping[tuple[str, str, str], tuple[float, float]]


def save_category_chart(bars: Bars, path: Path) -> None:
    """Draw accuracies by category, and write the chart to a file.

    A bar that is missing leaves a gap; the majority's accuracy, which a bar has to pass, is a line across the category.

    Args:
        bars: The accuracy and the majority's accuracy, both in per cent, by (category, method, way).
        path: The file to write, a .png or .svg by its suffix.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - optional dependency

    categories, methods, ways = (list(dict.fromkeys(key[place] for key in bars)) for place in range(3))
    figure = Figure(figsize=(max(6.0, 1.3 * len(categories)), 3.0 * len(methods)), layout="constrained")
    width = 0.8 / len(ways)
    for method, axes in zip(methods, figure.subplots(len(methods), 1, squeeze=False)[:, 0], strict=True):
        for number, way in enumerate(ways):
            found = {i: bars[key] for i, category in enumerate(categories) if (key := (category, method, way)) in bars}
            places = [i + (number - (len(ways) - 1) / 2) * width for i in found]
            axes.bar(places, [accuracy for accuracy, _ in found.values()], width, label=way)
        majorities = {i: bars[key][1] for key in bars if key[1] == method for i in [categories.index(key[0])]}
        lefts = [i - 0.45 for i in majorities]
        axes.hlines(list(majorities.values()), lefts, [left + 0.9 for left in lefts], "black", label="commonest label")
        axes.set(ylabel="accuracy, %", ylim=(0, 100))
        axes.set_title(printable(method), parse_math=False)
        axes.set_xticks(range(len(categories)), [printable(category) for category in categories], parse_math=False)
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, fontsize="small", ncols=len(names), loc="outside upper center")
    save_figure(figure, path)
