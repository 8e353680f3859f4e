"""One callable for every engine: it takes a batch's columns and returns them with the score's columns added."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dcnn_fast import former
from dcnn_fast.batch.columns import NAMES, OF_COLLECTION, arrays, require_pyarrow
from dcnn_fast.batch.errors import BatchError
from dcnn_fast.batch.frames import Frame, frame_of
from dcnn_fast.batch.keys import deciding, key_of
from dcnn_fast.data.remote import Stored, StoreError, Stores, is_address, of_machine
from dcnn_fast.scoring import Score, Scorer
from dcnn_fast.scoring.scorer import require_draws

_NOT_IN_BATCHES = ("model", "per_sample", "groups")  # options of `Scorer`; no column holds the results of the last two
COLUMNS = tuple(name for name in NAMES if name not in ("path", *OF_COLLECTION))


class ScoreBatch:
    """Scores batches of photographs. It pickles as its arguments and opens its scorer with the first batch, in each process.

    Args:
        model: The path of a model file, which must exist on every machine; None: the shipped one.
        path: The column of paths or of addresses in object stores.
        content: The column of files' bytes, where the engine has read them; the result omits it.
        version: A column that changes with a photograph's content, such as its size or ETag; the result then has a column `key`
            (`keys.key_of`), by which a later run recognises the row; a row without a version has no key.
        columns: The subset of `COLUMNS` to return.
        workers: Photographs processed at a time (default: torch's number of threads, which is the engine's share for the
            process).
        **options: Any of `Scorer`'s except per_sample and groups.

    Raises:
        BatchError: An argument or an option breaks a rule; the message names it, before any process is started.
        ValueError: An option is out of range, or pyarrow is not installed; also before any process is started.

    Example:
        With Ray Data:

        >>> ray.data.read_binary_files("s3://bucket/photos", include_paths=True).map_batches(  # doctest: +SKIP
        ...     ScoreBatch, fn_constructor_kwargs={"content": "bytes"}, batch_format="pyarrow", batch_size=64,
        ...     compute=ray.data.ActorPoolStrategy(size=3), num_cpus=1)
    """

    @former.renamed(views="samples")
    def __init__(
        self, model: str | os.PathLike[str] | None = None, *, path: str = "path", content: str | None = None,
        version: str | None = None, columns: Sequence[str] = COLUMNS, workers: int | None = None, **options: Any,
    ) -> None:  # fmt: skip
        require_pyarrow("ScoreBatch")
        require_options(options)
        if isinstance(columns, str) or not columns or not set(columns) <= set(COLUMNS):
            raise BatchError(f"columns must be of {', '.join(COLUMNS)}; got {columns!r}")
        self._columns = tuple(columns)
        self._model = None if model is None else os.fspath(model)
        self._path, self._content, self._version = path, content, version
        self._workers, self._options = workers, options
        self._opened: Scorer | None = None

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_opened": None}

    def __call__(self, batch: Any) -> Any:
        """Score a batch, or each of an iterator's batches, as for Spark's mapInPandas.

        A photograph that cannot be read has the reason in the column `error`, and the others go on. A missing value is pandas'
        own in a pandas column; in a mapping's array it is NaN among numbers and None among texts.

        Args:
            batch: An Arrow table, a pandas frame or a mapping of arrays; or an iterator of such.

        Returns:
            A batch of the same kind with the requested columns; an iterator of batches for an iterator.

        Raises:
            BatchError: The batch lacks the columns or already has one of the returned names.
        """
        if isinstance(batch, Iterator):
            return map(self, batch)
        frame = frame_of(batch)
        self._require_columns(frame)
        paths = frame.values(self._path)
        contents = None if self._content is None else frame.values(self._content)
        scores = self.scores(paths, contents)
        new = arrays(scores, self._columns)
        if self._version is not None:
            new = self._keys(paths, frame.values(self._version)) | new
        return frame.extended(new, self._content)

    @property
    def scorer(self) -> Scorer:
        """The scorer, opened at first use."""
        if self._opened is None:
            self._opened = Scorer(self._model, **self._options)
        return self._opened

    def scores(self, paths: Sequence[str | None], contents: Sequence[bytes | None] | None = None) -> list[Score]:
        """Score photographs.

        Args:
            paths: Their paths or addresses; None where there is none.
            contents: Their files' bytes, where already read; None: the files are read from `paths`.

        Returns:
            The scores, in order; the reason is in `error` where a photograph cannot be read.
        """
        stores, unread = Stores(), dict[int, Score]()

        def given() -> Iterator[str | bytes | Stored]:
            for place, path in enumerate(paths):
                image = _image(path, stores) if contents is None else contents[place]
                if image is None or isinstance(image, StoreError):
                    unread[place] = self._unread(image)
                else:
                    yield image

        scored = list(self.scorer.score_many(given(), workers=self._workers))
        found = iter(scored)
        return [replace(unread.get(place) or next(found), path=path) for place, path in enumerate(paths)]

    def _unread(self, why: StoreError | None) -> Score:
        said = "there is no file" if why is None else str(why)
        return Score(error=said, samples_count=self.scorer.samples, seed=self.scorer.seed)

    def _keys(self, paths: Sequence[str | None], versions: Sequence[Any]) -> dict[str, Any]:
        import pyarrow as pa  # noqa: PLC0415 - an extra

        settings = deciding(self.scorer)
        pairs = zip(paths, versions, strict=True)
        keys = [None if None in (path, version) else key_of(str(path), _version(version), settings) for path, version in pairs]
        return {"key": pa.array(keys, pa.string())}

    def _require_columns(self, frame: Frame) -> None:
        for column in (self._path, self._content, self._version):
            if column is not None and column not in frame.names:
                raise BatchError(f"the batch must have a column {column!r}, it has {', '.join(frame.names)}")
        key = () if self._version is None else ("key",)
        taken = [name for name in (*key, *self._columns) if name in frame.names and name != self._content]
        if taken:
            raise BatchError(f"the batch has columns of names that a score's have: {', '.join(taken)}; rename them")


def _version(value: Any) -> str:
    """The text of a version. pandas turns a column of integers into floats when one is missing."""
    return str(int(value)) if isinstance(value, (float, np.floating)) and float(value).is_integer() else str(value)


def require_options(options: dict[str, Any]) -> None:
    """Raise BatchError or ValueError for options that a scorer lacks or that are out of range, without opening a model."""
    known = [name for name in inspect.signature(Scorer).parameters if name not in _NOT_IN_BATCHES]
    for name in options:
        if name not in known:
            raise BatchError(f"options must be among {', '.join(known)}; got {name}")
    require_draws(options.get("samples", 50), options.get("grid", 1), options.get("seed", 0))


def _image(named: str | None, stores: Stores) -> str | Stored | StoreError | None:
    """The file at a path, or the reason why there is none."""
    path = None if named is None else of_machine(named)
    if path is None or not is_address(path):
        return path
    try:
        return stores.stored(path)
    except StoreError as error:
        return error
