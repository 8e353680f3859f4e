"""Scores collections larger than one machine with existing engines: Ray Data, Daft, Spark (docs/large-collections.md).

Needs the extra `batch`; addresses in object stores need `stores`.
"""

from __future__ import annotations

from dcnn_fast.batch.callable import ScoreBatch
from dcnn_fast.batch.errors import BatchError
from dcnn_fast.batch.listing import Listed, listing
from dcnn_fast.batch.plan import plan_shards, read_plan
from dcnn_fast.batch.shards import ScoreShards, unfinished

__all__ = ["BatchError", "Listed", "ScoreBatch", "ScoreShards", "listing", "plan_shards", "read_plan", "unfinished"]
