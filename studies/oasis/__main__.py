"""Train the paper's kinds of networks, small, on rated photographs and measure on themes that were not seen.

    DCNN_FAST_DATA=... python -m studies.oasis run --seed 0 --seed 1 --out runs/oasis
    DCNN_FAST_DATA=... python -m studies.oasis report --out runs/oasis

`run` keeps the held-out predictions of every seed and fold in files and does not repeat what is there. `report` writes
results.json. The shipped model is made by `studies.taste`.
"""

from __future__ import annotations

import copy
import os
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from studies.oasis import report as reports
from studies.oasis import study

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)

Data = Annotated[Path, typer.Option(envvar="DCNN_FAST_DATA", help="Folder with oasis/, photos/ and squeezenet/.")]
Out = Annotated[Path, typer.Option(help="Folder of what is kept.")]


@app.command()
def run(
    data: Data,
    out: Out,
    seed: Annotated[list[int], typer.Option(help="Of everything random; several are done in turn.")],
    threads: Annotated[int, typer.Option(min=1)] = 1,
) -> None:
    """Pre-train once a seed; train and score every model in every fold."""
    torch.set_num_threads(threads)
    prepared = study.prepare(data, out)
    for each in seed:
        base, accuracy = study.pretrained(prepared, each, out)
        print(f"seed {each}: faults {accuracy:.3f} on unseen photographs, base rate 0.500", flush=True)
        for number, (train, test) in enumerate(study.folds(prepared, each)):
            path = out / f"seed{each}-fold{number}.npz"
            if path.exists():
                continue
            start = time.monotonic()
            found = study.held_out(prepared, copy.deepcopy(base), train, test, each)
            partial = path.with_suffix(f".{os.getpid()}.npz")
            np.savez(partial, **{"test": test, **found})  # type: ignore[arg-type]
            partial.replace(path)
            print(f"seed {each}, fold {number}: {time.monotonic() - start:.0f} s", flush=True)


@app.command()
def report(data: Data, out: Out) -> None:
    """Pool the held-out predictions and print how well each model does, and by how much they differ, in Markdown."""
    prepared = study.prepare(data, out)
    reports.write(reports.measured(prepared, out), out / "results.json")


if __name__ == "__main__":
    app()
