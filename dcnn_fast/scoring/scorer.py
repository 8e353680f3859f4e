"""A scorer of photographs, its options, and how it is copied and pickled."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dcnn_fast import former
from dcnn_fast.data import reading
from dcnn_fast.nets import Model, load_model
from dcnn_fast.scoring.devices import executor_on, require_device
from dcnn_fast.scoring.extras import Extras
from dcnn_fast.scoring.score import Score
from dcnn_fast.scoring.shipped import caution_of, shipped_model
from dcnn_fast.scoring.stages import PhotoStages
from dcnn_fast.scoring.stream import Stream

DTYPES = ("float32", "bfloat16", "float16", "tf32")
GRIDS = (1, 2, 4, 8)
DECODES = ("exact", "scaled")
MAX_SEED = 2**63 - 1
_MOST_WORKERS = 256
_MOST_LONG_SIDE = 2**16
_DETAIL = 2  # pixels decoded from a scaled file for each pixel of the reduction; with 1, scores differ six times as much


@former.pickled(views="samples")
@dataclass(frozen=True)
class _Chosen:
    """A scorer's options; see `Scorer`."""

    device: str
    samples: int
    grid: int
    seed: int
    dtype: str
    decode: str
    long_side: int | None


_OWN = ("_model", "_chosen", "_graphs", "_read_options", "_extras", "_stages")  # attributes that `Scorer.__init__` sets


class Scorer:
    """Rates photographs with a model, by the average over seeded random samples of each (paper II-A, docs/design.md#scores).

    The same picture gives the same numbers bit for bit, as file, bytes, PIL image or array, in any batch, order and number of
    threads or processes (on one backend of one machine), whatever the process's global settings. A scorer can be pickled,
    copied, sent through queues and used on both sides of a fork (on "cpu"): it scores the same everywhere. A copy has its own
    weights.

    `model` holds the weights. On the cpu, weights changed between scores take effect with the next score (`nets.seen` lists the
    changes noticed); a change while a picture is being scored is refused (WeightsError). On "cuda" they are laid out once and a
    change is refused; one during `score_many` that torch does not count (through `.data` or numpy) is refused within some
    batches.

    Args:
        model: The path of a model file, a loaded Model, or None for the shipped one.
        device: "cpu", "cuda" (the current GPU; these kernels have been run in a simulator and on no GPU yet), "cuda:1" (the
            second; use one scorer per GPU, in threads or processes) or "auto": the current GPU if scores have been checked on
            it in its present state (`python -m tools.gpu_check`) and it computes the model, else "cpu".
        samples: The number of samples that are averaged, at least 1; each is a window for every column.
        grid: 1 is the paper's protocol; 2, 4 or 8 makes every window offset a multiple of it.
        seed: The seed from which windows are drawn, 0 to 2**63 - 1.
        dtype: The type of the products' operands, "float32", "bfloat16" or, on "cuda", "float16" (sums are always in float32;
            on "cuda" the maps between blocks have the dtype, too; EfficientNet-Lite's layers have no float16). "tf32", on
            "cuda", is float32 except in the products of blocks, whose operands are rounded to 10 bits of fraction;
            EfficientNet-Lite's layers do not have it.
        max_pixels: Larger images are refused before decoding.
        background: The RGB colour behind transparent pixels.
        decode: "exact" decodes every file at full size; "scaled" decodes a JPEG file at a half, a quarter or an eighth of its
            size where that leaves its long side at least twice as long as the reduced one. That is several times faster for
            large photographs, but scores differ: a file and its pixels as an array then get different scores.
        long_side: The long side in pixels to which photographs are reduced, in place of the model's own
            (`model.spec.long_side`).
        graphs: On "cuda", whether to replay recurring launches as CUDA graphs; it changes no score.
        faults: Whether scores include technical faults, see `Score`. It costs time and changes no other field.
        per_sample: Whether scores include the single samples. It costs memory and changes no other field.
        groups: Whether scores include the looks from which `scoring.completed` forms groups of near-duplicates. It costs time
            and memory and changes no other field.

    Raises:
        ValueError: An argument breaks a rule; the message names the argument.
        TypeError: The model is of another type.
        ModelError: The model cannot be loaded.

    Source:
        docs/design.md#scores
    """

    @former.renamed(bool, samples="per_sample")
    @former.renamed(views="samples")
    def __init__(
        self,
        model: str | Path | Model | None = None,
        device: str = "auto",
        samples: int = 50,
        grid: int = 1,
        seed: int = 0,
        dtype: str = "float32",
        *,
        max_pixels: int = reading.MAX_PIXELS,
        background: tuple[int, int, int] = (255, 255, 255),
        decode: str = "exact",
        long_side: int | None = None,
        graphs: bool = True,
        faults: bool = False,
        per_sample: bool = False,
        groups: bool = False,
    ) -> None:
        require_device(device)
        _require_choice("dtype", dtype, DTYPES if device.startswith("cuda") else DTYPES[:2])
        samples, grid, seed, max_pixels, long_side = map(_plain, (samples, grid, seed, max_pixels, long_side))
        require_draws(samples, grid, seed)
        _require_choice("decode", decode, DECODES)
        if long_side is not None:
            _require_range("long_side", long_side, 1, _MOST_LONG_SIDE)
        _require_range("max_pixels", max_pixels, 1, 2**62)
        background = tuple(_plain(value) for value in background) if isinstance(background, (tuple, list)) else background
        reading.require_background(background)
        for name, value in (("graphs", graphs), ("faults", faults), ("per_sample", per_sample), ("groups", groups)):
            if not isinstance(value, bool):
                raise ValueError(f"{name} must be True or False, got {value!r}")
        if not isinstance(model, (Model, str, os.PathLike)) and model is not None:
            raise TypeError(f"model must be the path of a model file, a Model or None, got {type(model).__name__}")
        self._model = model if isinstance(model, Model) else load_model(shipped_model() if model is None else model)
        if any(column.channels != 3 for column in self.model.spec.columns):
            raise ValueError("model must have columns of 3 channels, red, green and blue, to score photographs")
        self._chosen = _Chosen(device, samples, grid, seed, dtype, decode, long_side)
        if decode == "scaled" and self.long_side is None:
            raise ValueError("decode: 'scaled' needs a size to reduce photographs to: the model has none, give long_side")
        self._graphs = graphs
        red, green, blue = background
        scaled_to = _DETAIL * self.long_side if decode == "scaled" and self.long_side else None
        self._read_options = reading.ReadOptions(max_pixels, (red, green, blue), scaled_to)
        tf32 = dtype == "tf32"
        kind = torch.float32 if tf32 else getattr(torch, dtype)
        taken, executor = executor_on(device, self.model.net, kind, graphs=graphs, tf32=tf32)
        self._chosen = replace(self._chosen, device=taken)
        self._extras = Extras(faults, per_sample, groups)
        self._stages = PhotoStages(
            self.model, executor, self._read_options, samples=samples, grid=grid, seed=seed, long_side=self.long_side,
            extras=self._extras,
        )  # fmt: skip

    def __reduce__(self) -> tuple[Callable[..., Scorer], tuple[Any, ...], dict[str, Any]]:
        more = {name: value for name, value in vars(self).items() if name not in _OWN}  # attributes of a subclass
        return _made, (type(self), self._model, self._chosen, self._read_options, self._graphs, self._extras), more

    @property
    def model(self) -> Model:
        """The network with its weights."""
        return self._model

    @property
    def device(self) -> str:
        """The device in use: "cpu", "cuda" or "cuda:N", never "auto"."""
        return self._chosen.device

    @property
    def samples(self) -> int:
        """How many samples are averaged."""
        return self._chosen.samples

    views = former.attribute("Scorer", "views", "samples")

    @property
    def grid(self) -> int:
        """The grid of window offsets: each is a multiple of it."""
        return self._chosen.grid

    @property
    def seed(self) -> int:
        """The seed from which windows are drawn."""
        return self._chosen.seed

    @property
    def dtype(self) -> str:
        """The type of the products' operands."""
        return self._chosen.dtype

    @property
    def decode(self) -> str:
        """How JPEG files are decoded: "exact" or "scaled"."""
        return self._chosen.decode

    @property
    def long_side(self) -> int | None:
        """The long side in pixels to which larger photographs are reduced; None where they are not reduced."""
        return self._chosen.long_side or self.model.spec.long_side

    @property
    def caution(self) -> str | None:
        """The caution to show with this model's scores where they first appear; None where there is none."""
        return caution_of(self.model)

    @property
    def max_pixels(self) -> int:
        """The limit above which images are refused."""
        return self._read_options.max_pixels

    @property
    def background(self) -> tuple[int, int, int]:
        """The RGB colour behind transparent pixels."""
        return self._read_options.background

    @property
    def read_options(self) -> reading.ReadOptions:
        """How photographs are read."""
        return self._read_options

    @property
    def extras(self) -> Extras:
        """The optional contents of scores beside the network's answer."""
        return self._extras

    @property
    def stages(self) -> PhotoStages:
        """The stages of scoring one photograph, for programs that schedule the work themselves."""
        return self._stages

    def score(self, image: Any) -> Score:
        """The score of one image.

        Args:
            image: A path, bytes, PIL image, numpy array [H, W, 3] or uint8 tensor [3, H, W], or a file in an object store or
                zip file (`data.remote.stored`).

        Returns:
            Its score.

        Raises:
            ReadError: The image cannot be read; `score_many` reports that in the result instead.
        """
        stages = self._stages
        return stages.finish([stages.begin(stages.read_or_raise(image))])[0]

    def score_many(self, images: Iterable[Any], *, batch: int | None = None, workers: int | None = None) -> Iterator[Score]:
        """Scores in the order of the images, as they are ready; memory holds a few batches, whatever their number.

        An image that cannot be read gives a Score with `error` set, and the others go on. Where `images` itself raises, the
        scores of the images before come first. Unless `images` is a list or a tuple, an image that is neither a path nor bytes
        is read before the next is requested, so that an array may be refilled, and a PIL image closed or moved to its next
        frame. A source that has no image yet may yield `scoring.WAITING`, which releases finished scores; otherwise they wait
        for its next image. The iterator belongs to the process that made it.

        Args:
            images: The images, each as `score` takes it.
            batch: The number of images whose fully-connected layers (on "cuda": whole networks) are computed together, 1 to
                4096 (default: 4, on "cuda" 8). It changes no score.
            workers: Images read and computed at a time, each on one thread; the last ones divide the threads among them
                (default: torch.get_num_threads(), at most 256). It changes no score.

        Returns:
            An iterator over the scores.

        Raises:
            TypeError: `images` is one image.
            ValueError: batch or workers is out of range; the message names it.
        """
        if isinstance(images, (str, bytes, os.PathLike)):
            raise TypeError(f"images must be an iterable of images, got one {type(images).__name__}; use score")
        batch = self._stages.executor.intake.batch if batch is None else _plain(batch)
        workers = min(_MOST_WORKERS, torch.get_num_threads()) if workers is None else _plain(workers)
        _require_range("batch", batch, 1, 4096)
        _require_range("workers", workers, 1, _MOST_WORKERS)
        return Stream(self._stages, batch=batch, workers=workers).scores(images)


def require_draws(samples: int, grid: int, seed: int) -> None:
    """Raise ValueError naming the argument that is out of range."""
    _require_choice("grid", grid, GRIDS)
    _require_range("samples", samples, 1, 1_000_000)
    _require_range("seed", seed, 0, MAX_SEED)


def _made(
    of: type[Scorer], model: Model, chosen: _Chosen, options: reading.ReadOptions, graphs: bool, extras: Extras
) -> Scorer:
    scorer = of.__new__(of)
    Scorer.__init__(
        scorer, model, chosen.device, chosen.samples, chosen.grid, chosen.seed, chosen.dtype,
        max_pixels=options.max_pixels, background=options.background, decode=chosen.decode, long_side=chosen.long_side,
        graphs=graphs, faults=extras.faults, per_sample=extras.per_sample, groups=extras.groups,
    )  # fmt: skip
    return scorer


def _plain(value: Any) -> Any:
    """numpy's integers as Python's; anything else unchanged, to be refused by name."""
    return operator.index(value) if isinstance(value, np.integer) else value


def _require_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    if type(value) is not type(choices[0]) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}; got {value!r}")


def _require_range(name: str, value: Any, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{name} must be an integer from {least} to {most}, got {value!r}")
