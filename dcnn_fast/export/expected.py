"""The expected answers of exported files for a small picture: digests of its planes, its windows, and the probabilities."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dcnn_fast.data.reading import Photo
from dcnn_fast.export.about import GRID, SAMPLES, SEED
from dcnn_fast.export.inputs import ColumnInputs, high_of, inputs_of
from dcnn_fast.nets import Model, MultiColumn
from dcnn_fast.ops.plain_torch import default_modes
from dcnn_fast.ops.views import cut
from dcnn_fast.runtime import PlaneJob
from dcnn_fast.scoring import Scorer
from dcnn_fast.scoring.prepare import prepare

SCHEMA = 1
TOLERANCE = 1e-5  # for a probability
_WINDOWS = 4  # samples with windows in the file


@dataclass(frozen=True)
class Given:
    """The inputs of one column. plane: [H, W, 3] uint8; offsets: int64 [samples, 2]."""

    inputs: ColumnInputs
    plane: np.ndarray
    offsets: np.ndarray

    def windows(self, samples: int = _WINDOWS) -> np.ndarray:
        """The first windows: [samples, window, window, 3] uint8."""
        return cut(self.plane, self.offsets[:samples], self.inputs.window)

    @property
    def centre(self) -> np.ndarray:
        """The centre window: [1, window, window, 3] uint8."""
        limits = np.array(self.plane.shape[:2]) - self.inputs.window
        return cut(self.plane, limits[None] // 2, self.inputs.window)


def given_of(model: Model, pixels: np.ndarray, samples: int = SAMPLES) -> tuple[Given, ...]:
    """Planes and windows of a photograph [H, W, 3] uint8, for each column."""
    jobs = prepare(pixels, model.spec, samples=samples, grid=GRID, seed=SEED).jobs
    found = []
    for each, job in zip(inputs_of(model.spec), jobs, strict=True):
        assert isinstance(job, PlaneJob)
        found.append(Given(each, np.ascontiguousarray(job.plane), np.ascontiguousarray(job.windows, dtype=np.int64)))
    return tuple(found)


def probabilities(model: Model, windows: tuple[np.ndarray, ...]) -> np.ndarray:
    """This package's probabilities: windows of each column [N, window, window, 3] -> [N, labels] float64."""
    with default_modes(gradients=False):
        batches = [torch.from_numpy(each).permute(0, 3, 1, 2) for each in windows]
        logits = _evaluated(model.net, batches)
        first = logits[0] if isinstance(logits, tuple) else logits
        result: np.ndarray = first.double().softmax(dim=1).numpy()
    return result


def _evaluated(net: MultiColumn, batches: Sequence[torch.Tensor]) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """The network's result without dropout, whatever its mode."""
    training = net.training
    try:
        found: torch.Tensor | tuple[torch.Tensor, torch.Tensor] = net.eval()(*batches)
        return found
    finally:
        net.train(training)


def expected(model: Model, pixels: np.ndarray, picture: str) -> dict[str, Any]:
    """The expected answers, JSON-ready except for the files' digests; schema "export-expected.v1.json".

    pixels: the picture [H, W, 3] uint8; picture: its file's name. Raises ValueError for a model whose numbers are not finite.
    """
    given, labels = given_of(model, pixels), model.spec.labels
    score = Scorer(model, samples=SAMPLES, seed=SEED, grid=GRID).score(pixels)
    if score.error is not None:
        raise ValueError(f"model: {score.error}")
    single, high = probabilities(model, tuple(each.centre for each in given))[0], high_of(labels)
    return {
        "dcnn_fast_expected": SCHEMA, "model": model.digest, "labels": list(labels), "tolerance": TOLERANCE,
        "samples": SAMPLES, "seed": SEED, "grid": GRID,
        "picture": {
            "file": picture, "height": pixels.shape[0], "width": pixels.shape[1], "digest": Photo.of(pixels).digest,
            "pixels_sha256": hashlib.sha256(pixels.tobytes()).hexdigest(),
        },
        "columns": [_column(each) for each in given],
        "windows": {"probabilities": probabilities(model, tuple(each.windows() for each in given)).tolist()},
        "planes": {"probabilities": [score.probs[label] for label in labels], "mean": score.mean, "std": score.std},
        "single": {"probabilities": single.tolist(), "mean": None if high is None else float(single[high])},
    }  # fmt: skip


def as_json(value: Mapping[str, Any]) -> bytes:
    """The line written to a file."""
    return (json.dumps(value, allow_nan=False) + "\n").encode()


def _column(given: Given) -> dict[str, Any]:
    height, width, _ = given.plane.shape
    return {
        "key": given.inputs.key, "view": given.inputs.view, "plane_input": given.inputs.plane_name,
        "offsets_input": given.inputs.offsets_name, "windows_input": given.inputs.windows_name,
        "plane_height": height, "plane_width": width, "plane_sha256": hashlib.sha256(given.plane.tobytes()).hexdigest(),
        "offsets": given.offsets.tolist(),
    }  # fmt: skip
