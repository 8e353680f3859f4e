"""A chart of a training run's curves (matplotlib, extra `train`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dcnn_fast.printable import printable

_DOTS_PER_INCH = 100
_MARK = "dcnn-fast"  # the program's name, as in its other charts

_SHARES = {
    "test_accuracy": "accuracy", "test_balanced_accuracy": "balanced accuracy", "test_auc": "AUC",
    "test_majority": "always the commonest label", "val_auc": "AUC, split val", "val_balanced_accuracy": "balanced, split val",
}  # fmt: skip


def save_curves(rows: Sequence[Mapping[str, Any]], path: Path, title: str = "", *, apart: bool = False) -> None:
    """Draw losses, held-out measures and the rate by epoch, from the rows of a run's log; a .png or .svg by the path's suffix.

    apart: whether the training loss is another than that of the looks, the labels' negative log-likelihood; it then has its own
    axis.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - optional dependency

    figure = Figure(figsize=(11, 4))
    # Room for numbers of seven characters: a layout that measures them would draw everything three times.
    figure.subplots_adjust(left=0.06, right=0.99, bottom=0.13, top=0.84 if title else 0.92, wspace=0.4 if apart else 0.22)
    losses, shares, rates = figure.subplots(1, 3)
    own = losses.twinx() if apart and any(row.get("loss") is not None for row in rows) else losses
    _line(own, rows, "loss", "training, its own loss" if apart else "training", color="tab:gray" if apart else None)
    _line(losses, rows, "test_loss", "held out, label NLL" if apart else "held out")
    _line(losses, rows, "val_loss", "split val, label NLL" if apart else "split val")
    for name, label in _SHARES.items():
        _line(shares, rows, name, label, "--" if name == "test_majority" else "-")
    _line(rates, rows, "rate", "of the weights")
    for axes, what in ((losses, "loss"), (shares, "held-out measures"), (rates, "learning rate")):
        axes.set(title=what, xlabel="epoch")
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
        lines = [*axes.lines, *(own.lines if axes is losses and own is not losses else ())]
        if lines:
            axes.legend(handles=lines, fontsize="small")
    rates.set_ylim(bottom=0)
    if title:
        figure.suptitle(printable(title), parse_math=False)
    _save(figure, path)


def _line(
    axes: Any, rows: Sequence[Mapping[str, Any]], name: str, label: str, style: str = "-", color: str | None = None
) -> None:
    points = [(row["epoch"], row[name]) for row in rows if row.get(name) is not None]
    if points:
        axes.plot(*zip(*points, strict=True), style, label=label, color=color, marker="." if len(points) < 40 else None)


def _save(figure: Any, path: Path) -> None:
    """Save without the process's matplotlib backend and without numpy's warnings."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - optional dependency

    FigureCanvasAgg(figure)
    about = {"Software": _MARK} if path.suffix == ".png" else {"Creator": _MARK}
    with np.errstate(all="ignore"):
        figure.savefig(path, dpi=_DOTS_PER_INCH, metadata=about)
