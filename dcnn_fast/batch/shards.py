"""Shards: each is one unit of work and one file of rows, which is whole or absent. Repeated on the same kind of machine, it
gives the same rows.

A killed worker leaves nothing of its shard, which the engine gives to another worker. Rows whose keys a shard already has are
not computed again.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dcnn_fast import former
from dcnn_fast.batch.callable import COLUMNS, ScoreBatch
from dcnn_fast.batch.columns import arrays, require_pyarrow, schema, text
from dcnn_fast.batch.deal import Deal, photographs_of, read_deal, scores_of, shard_numbers
from dcnn_fast.batch.errors import BatchError
from dcnn_fast.batch.frames import frame_of
from dcnn_fast.batch.keys import deciding, differing, key_of
from dcnn_fast.batch.listing import Listed
from dcnn_fast.batch.places import read, write

if TYPE_CHECKING:
    import pyarrow

_OF_ROW = ("key", "path", "version")
_MARK, _FORMAT = b"dcnn_fast_shard", b"1"  # in a file's metadata
COUNTS = ("rows", "scored", "kept", "failed")


@former.pickled(_plan="_deal")
class ScoreShards:
    """Scores shards of a deal; a callable for every engine, which pickles as its arguments.

    Args:
        folder: The deal's folder.
        model: The path of the model file if it differs from the deal's; it must be the same model.
        workers: Photographs processed at a time, as in `ScoreBatch`.
        keep_failures: Do not retry photographs that could not be read.

    Example:
        >>> ray.data.from_items([{"shard": n} for n in unfinished(folder)]).map_batches(  # doctest: +SKIP
        ...     ScoreShards, fn_constructor_args=(folder,), batch_size=1, num_cpus=1,
        ...     compute=ray.data.ActorPoolStrategy(size=3))
    """

    def __init__(
        self, folder: str, *, model: str | None = None, workers: int | None = None, keep_failures: bool = False
    ) -> None:  # fmt: skip
        require_pyarrow("ScoreShards")
        self._folder, self._model, self._keep_failures = folder, model, keep_failures
        self._workers = workers
        self._batch: ScoreBatch | None = None
        self._deal: Deal | None = None

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_batch": None, "_deal": None}

    def __call__(self, batch: Any) -> Any:
        """Score the shards whose numbers are in the column `shard`.

        Args:
            batch: An Arrow table, a pandas frame or a mapping of arrays.

        Returns:
            The batch with the columns `COUNTS`, which `do` explains.

        Raises:
            BatchError: There is no deal, or the model or a setting differs from the deal's, or the batch has no column `shard`.
        """
        import pyarrow as pa  # noqa: PLC0415 - an extra

        frame = frame_of(batch)
        if "shard" not in frame.names:
            raise BatchError(f"the batch must have a column 'shard', it has {', '.join(frame.names)}")
        counts = [self.do(int(number)) for number in frame.values("shard")]
        return frame.extended({name: pa.array([each[name] for each in counts], pa.int64()) for name in COUNTS}, None)

    def do(self, number: int) -> dict[str, int]:
        """Score one shard.

        Args:
            number: The shard's number, counted from 0.

        Returns:
            Its numbers of rows: all ("rows"), scored now ("scored"), kept ("kept"), and those that could not be scored
                ("failed").

        Raises:
            BatchError: There is no such shard or no deal, or the model or a setting differs from the deal's.
        """
        deal, scorer = self._opened()
        if not 0 <= number < deal.shards:
            raise BatchError(f"shard must be from 0 to {deal.shards - 1}, got {number}")
        wanted = _keyed(photographs_of(self._folder, number, deal), deal)
        there = _read(scores_of(self._folder, number))
        kept = _kept(there, wanted, self._keep_failures)
        missing = {key: photograph for key, photograph in wanted.items() if key not in kept}
        made = _scored(scorer, missing)
        rows = {**kept, **made}
        if there is None or missing or len(there) != len(rows):
            write(scores_of(self._folder, number), _file_of([rows[key] for key in wanted]))
        failed = sum(row["error"] is not None for row in rows.values())
        return {"rows": len(rows), "scored": len(made), "kept": len(kept), "failed": failed}

    def _opened(self) -> tuple[Deal, ScoreBatch]:
        if self._deal is None or self._batch is None:
            deal = read_deal(self._folder)
            batch = ScoreBatch(self._model or deal.model, workers=self._workers, **deal.options)
            if others := differing(deal.settings, deciding(batch.scorer)):
                raise BatchError(f"the model and the settings must be the deal's, which has {', '.join(others)}")
            self._deal, self._batch = deal, batch
        return self._deal, self._batch


def unfinished(folder: str, *, keep_failures: bool = False) -> list[int]:
    """List the shards of a deal that are not done: they have no whole file, or its rows differ from their lists.

    Args:
        folder: The deal's folder.
        keep_failures: A shard with photographs that could not be read counts as done.

    Returns:
        The numbers of these shards, in order.

    Raises:
        BatchError: There is no readable deal, an unfinished one, or an incomplete list.
    """
    deal, found = read_deal(folder), []
    for number in shard_numbers(deal):
        wanted, there = _keyed(photographs_of(folder, number, deal), deal), _read(scores_of(folder, number))
        if there is None or len(there) != len(wanted) or len(_kept(there, wanted, keep_failures)) != len(wanted):
            found.append(number)
    return found


def _keyed(photographs: Iterable[Listed], deal: Deal) -> dict[str, Listed]:
    return {key_of(each.path, each.version, deal.settings): each for each in photographs}


def _read(place: str) -> list[dict[str, Any]] | None:
    """The rows of a shard's file; None where it is absent or incomplete. Raises BatchError for a file of another program."""
    import pyarrow as pa  # noqa: PLC0415 - an extra
    import pyarrow.parquet as pq  # noqa: PLC0415

    content = read(place)
    try:
        table = None if content is None else pq.read_table(io.BytesIO(content))
    except (pa.ArrowException, OSError):
        return None
    if table is None:
        return None
    if _MARK not in (table.schema.metadata or {}):
        raise BatchError(f"{place} is no file of a shard, and is not overwritten")
    if not table.schema.equals(_schema()) or table.schema.metadata[_MARK] != _FORMAT:
        return None
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _kept(
    rows: Sequence[dict[str, Any]] | None, wanted: Mapping[str, Listed], keep_failures: bool
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """The rows that need not be computed again, by their keys."""
    return {row["key"]: row for row in rows or () if row["key"] in wanted and (keep_failures or row["error"] is None)}


def _scored(scorer: ScoreBatch, missing: Mapping[str, Listed]) -> dict[str, dict[str, Any]]:
    if not missing:
        return {}
    scores = scorer.scores([each.path for each in missing.values()])
    columns = {name: array.to_pylist() for name, array in arrays(scores, COLUMNS).items()}
    return {
        key: {"key": key, "path": text(each.path), "version": each.version, **{name: columns[name][place] for name in COLUMNS}}
        for place, (key, each) in enumerate(missing.items())
    }


def _file_of(rows: Sequence[dict[str, Any]]) -> bytes:
    import pyarrow as pa  # noqa: PLC0415 - an extra
    import pyarrow.parquet as pq  # noqa: PLC0415

    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=_schema()), file, compression="zstd")
    return file.getvalue()


def _schema() -> pyarrow.Schema:
    return schema([*_OF_ROW, *COLUMNS]).with_metadata({_MARK: _FORMAT})
