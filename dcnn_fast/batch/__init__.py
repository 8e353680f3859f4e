"""Scores collections larger than one machine with existing engines: Ray Data, Daft, Spark (docs/large-collections.md).

Needs the extra `batch`; addresses in object stores need `stores`.
"""

from __future__ import annotations

from dcnn_fast import former
from dcnn_fast.batch.callable import ScoreBatch
from dcnn_fast.batch.deal import deal_shards, read_deal
from dcnn_fast.batch.errors import BatchError
from dcnn_fast.batch.listing import Listed, listing
from dcnn_fast.batch.shards import ScoreShards, unfinished

__all__ = ["BatchError", "Listed", "ScoreBatch", "ScoreShards", "deal_shards", "listing", "read_deal", "unfinished"]

__getattr__ = former.names(__name__, {"plan_shards": "deal_shards", "read_plan": "read_deal"})
