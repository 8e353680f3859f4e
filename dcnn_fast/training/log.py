"""The output of a run under way: CSV files, TensorBoard and a progress bar."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

FIELDS = (
    "epoch", "step", "rate", "loss", "images", "skipped", "test_count", "test_loss",
    "test_accuracy", "test_balanced_accuracy", "test_majority", "test_auc", "test_attribute_accuracy",
    "test_attribute_majority", "val_count", "val_loss", "val_accuracy", "val_balanced_accuracy", "val_majority", "val_auc",
    "val_attribute_accuracy", "val_attribute_majority",
)  # fmt: skip
CLOCK = ("seconds", "images_per_second")  # an epoch's times, in a separate file
_TIMED = ("epoch", "images")  # the epoch that was timed, and its images so far

Advance = Callable[[int, str], None]


def write_csv(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write a run's rows, one for each epoch, in the columns of `FIELDS`; a missing value leaves its cell empty.

    The whole file is written each time, so that a resumed run never has a row twice.
    """
    _write(rows, FIELDS, path)


def write_times(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write a run's times, a row for each epoch, including the unfinished one."""
    _write(rows, (*_TIMED, *CLOCK), path)


def read_times(path: Path) -> dict[tuple[int, int], dict[str, float]]:
    """The times that `write_times` wrote, by epoch and images; unreadable ones are left out: no result depends on them."""
    found: dict[tuple[int, int], dict[str, float]] = {}
    with suppress(OSError, ValueError, csv.Error), open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            times = {name: float(row.get(name) or "nan") for name in CLOCK}
            if all(0 <= value < math.inf for value in times.values()):
                epoch, images = (int(row.get(name) or 0) for name in _TIMED)
                found[epoch, images] = times
    return found


def _write(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], path: Path) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns, extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)


def write_skipped(skipped: Mapping[str, str], path: Path) -> None:
    """Write the photographs that could not be read when last tried, each with the reason."""
    with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        table = csv.writer(file)
        table.writerow(("key", "reason"))
        table.writerows(skipped.items())


class Board:
    """A TensorBoard log in `folder` (extra `tensorboard`); earlier entries from `step` on are discarded."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - optional dependency

        self._writer: Any = SummaryWriter(str(folder), purge_step=step)

    def row(self, row: Mapping[str, Any]) -> None:
        """Write an epoch's numbers."""
        for name in (*FIELDS[2:], *CLOCK):
            if row.get(name) is not None:
                part, _, rest = name.partition("_")
                group, what = (part, rest) if part in ("test", "val") else ("train", name)
                self._writer.add_scalar(f"{group}/{what}", row[name], row["step"])
        self._writer.flush()

    def close(self) -> None:
        """Close the files."""
        self._writer.close()


@contextmanager
def progress_bar(total: int, done: int, shown: Console | bool) -> Iterator[Advance]:
    """Show a bar over `total` images, `done` of them finished, on the console `shown`; True: on stderr; False: no bar.

    Yields a function that takes the number of further images and a text.
    """
    if shown is False:
        yield lambda images, text: None
        return
    from rich.console import Console  # noqa: PLC0415 - for those who look
    from rich.markup import escape  # noqa: PLC0415
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f} of {task.total:,.0f} images"),
        TextColumn("{task.fields[rate]}"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True) if shown is True else shown) as bar:
        task = bar.add_task("", total=total, completed=done, rate="")

        def advance(images: int, text: str) -> None:
            bar.update(task, advance=images, description=escape(text))
            speed = bar.tasks[0].speed
            bar.update(task, rate="" if speed is None else f"{speed:,.1f} images/s")

        yield advance
