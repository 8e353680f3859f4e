"""A model's probabilities for the examples of a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from dcnn_fast import former
from dcnn_fast.data import Example, ReadError, read
from dcnn_fast.data.reduction import reduced
from dcnn_fast.nets import Input, Model, MultiColumn
from dcnn_fast.ops import views as ops_views
from dcnn_fast.ops.plain_torch import default_modes, plain_torch
from dcnn_fast.scoring import Scorer

_WINDOWS_AT_A_TIME = 64


@dataclass(frozen=True)
class Predictions:
    """A model's predictions for examples, with the truth about them.

    Attributes:
        labels: The classes.
        examples: Those that could be read, in order.
        probs: [n, labels] float64, averaged over the samples.
        spread: [n], for two labels the standard deviation over the samples of the second's probability, else NaN.
        errors: The reason why each other example could not be read, by its key.
        histograms: [n, 10] predicted shares of the ratings 1 to 10, where these are predicted.
        widest: Where scores on an arbitrary scale were converted to probabilities, the distance from the threshold that became
            one half; None for probabilities, and for ratings from 1 to 10, whose scale is the same in all predictions.
    """

    labels: tuple[str, ...]
    examples: tuple[Example, ...]
    probs: np.ndarray
    spread: np.ndarray
    errors: dict[str, str] = field(default_factory=dict)
    histograms: np.ndarray | None = None
    widest: float | None = None

    @property
    def named(self) -> np.ndarray:
        """The most probable label's index: [n]."""
        named: np.ndarray = self.probs.argmax(axis=1)
        return named

    @property
    def truth(self) -> tuple[tuple[int, ...], ...]:
        """All right labels of each example, empty for an unlabelled one."""
        return tuple(e.truth or ((e.label,) if e.label >= 0 else ()) for e in self.examples)

    @property
    def right(self) -> np.ndarray:
        """Whether the most probable label is a right one: [n] bool."""
        return np.array([name in truth for name, truth in zip(self.named.tolist(), self.truth, strict=True)], bool)

    @property
    def ratings(self) -> np.ndarray:
        """The examples' ratings: [n] float64, NaN where there is none."""
        return np.array([example.rating for example in self.examples], float)

    def of(self, rows: Sequence[int] | np.ndarray) -> Predictions:
        """Select the predictions for some rows.

        Args:
            rows: The rows' indices, in the order wanted.

        Returns:
            Their predictions, without `errors`.
        """
        index = np.asarray(rows, dtype=int)
        return replace(
            self, examples=tuple(self.examples[i] for i in index), probs=self.probs[index], spread=self.spread[index],
            errors={}, histograms=None if self.histograms is None else self.histograms[index],
        )  # fmt: skip


@former.renamed(views="samples")
def predict(
    model: Model | nn.Module,
    examples: Sequence[Example],
    *,
    labels: tuple[str, ...] | None = None,
    samples: int = 50,
    grid: int = 1,
    seed: int = 0,
    device: str = "auto",
    batch: int | None = None,
    workers: int | None = None,
    advance: Callable[[], object] = lambda: None,
) -> Predictions:
    """Predict P(label) of each example, the mean over random windows, which are those of `Scorer`.

    An unreadable photograph is named in `errors`.

    Args:
        model: A `Model` or `MultiColumn`, which the scorer runs with shared regions computed once, or any module with `inputs`
            and logits, which runs window by window on its own device and stays in evaluation mode.
        examples: The photographs, each by its `source`.
        labels: The classes of a module that is not one of this project's networks; these know their own.
        samples: The number of windows, as in `Scorer`.
        grid: The grid of window offsets, as in `Scorer`.
        seed: The seed of the windows, as in `Scorer`.
        device: "auto", "cpu", "cuda" or "cuda:N", as in `Scorer`.
        batch: Images computed together, as in `Scorer.score_many`.
        workers: Images read and computed at a time, as in `Scorer.score_many`.
        advance: Called after each example.

    Returns:
        The predictions of the examples that could be read, in order.

    Raises:
        ValueError: An argument breaks a rule, which the message names, or no photograph could be read.

    Source:
        docs/design.md#scores
    """
    if isinstance(model, MultiColumn):
        model = Model(model)
    if isinstance(model, Model):
        labels = model.spec.labels
        scorer = Scorer(model, device, samples, grid, seed)
        found = _scored(scorer, labels, examples, batch, workers)
    elif labels is None:
        raise ValueError("labels must name the classes of a module that is not one of this project's networks")
    else:
        found = _window_by_window(model.eval(), examples, samples, grid, seed)
    read_ones, probs, spread, errors = [], [], [], {}
    for example, result in zip(examples, found, strict=True):
        if isinstance(result, str):
            errors[example.key] = result
        else:
            read_ones.append(example)
            probs.append(result[0])
            spread.append(result[1])
        advance()
    if not read_ones:
        first = next(iter(errors.items()), ("", "none was given"))
        raise ValueError(f"examples must hold readable photographs, got none of {len(examples)}: {first[0]}: {first[1]}")
    if len(probs[0]) != len(labels):
        raise ValueError(f"labels must name the module's {len(probs[0])} classes, got {', '.join(labels)}")
    return Predictions(labels, tuple(read_ones), np.array(probs), np.array(spread), errors)


def average(predictions: Sequence[Predictions]) -> Predictions:
    """Average several models' probabilities, as AVG_SCNN (paper III-B), for the examples common to all.

    Args:
        predictions: Each model's predictions, at least one.

    Returns:
        The mean predictions; their spread is unknown: NaN.

    Raises:
        ValueError: Labels or scales differ, or no example is common.
    """
    first, *others = predictions
    if any(other.labels != first.labels for other in others):
        raise ValueError(f"predictions must have the same labels, got {[p.labels for p in predictions]}")
    widest = _of_one_scale(predictions)
    rows = [{example.key: i for i, example in enumerate(each.examples)} for each in predictions]
    common = [key for key in rows[0] if all(key in each for each in rows)]
    if not common:
        raise ValueError("predictions must have examples in common, got none")
    aligned = [each.of([index[key] for key in common]) for each, index in zip(predictions, rows, strict=True)]
    mean = np.mean([each.probs for each in aligned], axis=0)
    errors = {key: reason for each in predictions for key, reason in each.errors.items()}
    histograms = _of_all([each.histograms for each in aligned])
    together = None if histograms is None else np.mean(histograms, axis=0)
    return Predictions(first.labels, aligned[0].examples, mean, np.full(len(common), np.nan), errors, together, widest)


def _of_all(histograms: Sequence[np.ndarray | None]) -> list[np.ndarray] | None:
    """All histograms, None where some are missing."""
    found = [each for each in histograms if each is not None]
    return found if len(found) == len(histograms) else None


def joined(parts: Sequence[Predictions]) -> Predictions:
    """Predictions for different examples, possibly by different models, joined into one.

    Raises ValueError when labels or scales differ.
    """
    first = parts[0]
    if any(part.labels != first.labels for part in parts):
        raise ValueError(f"predictions must have the same labels, got {[part.labels for part in parts]}")
    histograms = _of_all([part.histograms for part in parts])
    return Predictions(
        first.labels, tuple(example for part in parts for example in part.examples),
        np.concatenate([part.probs for part in parts]), np.concatenate([part.spread for part in parts]),
        {key: reason for part in parts for key, reason in part.errors.items()},
        None if histograms is None else np.concatenate(histograms), _of_one_scale(parts),
    )  # fmt: skip


def _of_one_scale(parts: Sequence[Predictions]) -> float | None:
    """The common scale. Raises ValueError where scales differ, as such numbers cannot be ranked together."""
    widest = parts[0].widest
    if any(part.widest != widest for part in parts):
        said = ", ".join("probabilities" if each.widest is None else f"{each.widest:g} from the threshold" for each in parts)
        raise ValueError(f"predictions must be on one scale to be put together, got {said}")
    return widest


Result = tuple[np.ndarray, float] | str


def _scored(
    scorer: Scorer, labels: tuple[str, ...], examples: Sequence[Example], batch: int | None, workers: int | None
) -> Iterator[Result]:
    for score in scorer.score_many((example.source for example in examples), batch=batch, workers=workers):
        if score.error is not None:
            yield score.error
        else:
            assert score.probs is not None
            yield np.array([score.probs[label] for label in labels]), score.std if score.std is not None else np.nan


def _window_by_window(net: nn.Module, examples: Sequence[Example], samples: int, grid: int, seed: int) -> Iterator[Result]:
    inputs: tuple[Input, ...] = net.inputs  # type: ignore[assignment]
    device = next(net.parameters()).device
    for example in examples:
        try:
            photo = read(example.source)
            digest = photo.digest
            cut = [_windows(photo.pixels, digest, wanted, samples, grid, seed) for wanted in inputs]
        except (ReadError, ValueError) as error:
            yield str(error)
            continue
        probs = _probabilities(net, cut, device)
        if not np.isfinite(probs).all():
            yield "the model gives numbers that are not finite for this image"
            continue
        yield probs.mean(axis=0), float(probs[:, 1].std()) if probs.shape[1] == 2 else np.nan


def _windows(pixels: np.ndarray, digest: str, wanted: Input, samples: int, grid: int, seed: int) -> Tensor:
    plane = ops_views.plane(reduced(pixels, wanted.long_side), wanted.view, wanted.plane).pixels
    offsets = ops_views.draw_windows(
        digest, seed, wanted.key, samples, view=wanted.view, plane_shape=plane.shape[:2], plane=wanted.plane,
        window=wanted.window, grid=grid,
    )  # fmt: skip
    return torch.from_numpy(ops_views.cut(plane, offsets, wanted.window)).permute(0, 3, 1, 2)


def _probabilities(net: nn.Module, cut: Sequence[Tensor], device: torch.device) -> np.ndarray:
    """[samples, labels] float64, independent of the process's settings."""
    parts = []
    with default_modes(gradients=False), plain_torch(device):
        for start in range(0, len(cut[0]), _WINDOWS_AT_A_TIME):
            logits = net(*(windows[start : start + _WINDOWS_AT_A_TIME].to(device) for windows in cut))
            first = logits if isinstance(logits, Tensor) else logits[0]
            parts.append(first.double().softmax(dim=1).cpu().numpy().copy())
    return np.concatenate(parts)
