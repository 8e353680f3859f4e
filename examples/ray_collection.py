"""Score a collection with Ray, on one machine or a cluster; run it again after a crash, or when photographs were added.

pip install 'dcnn-fast[ray]'
python examples/ray_collection.py PHOTOGRAPHS FOLDER [SHARDS [WORKERS]]

PHOTOGRAPHS: a folder or an address (s3://bucket/photos). FOLDER: the place for the rows, accessible from every machine.
Environment variable MODEL: a model file in place of the shipped one.
"""

from __future__ import annotations

import os
import sys

import ray

from dcnn_fast.batch import ScoreShards, deal_shards, listing, unfinished


def main() -> None:
    """Plan, score the unfinished shards, and list unreadable photographs."""
    photographs, folder, shards, workers = [*sys.argv[1:], *("100", "2")[len(sys.argv) - 3 :]]
    deal = deal_shards(listing([photographs]), folder, int(shards), model=os.environ.get("MODEL"))
    missing = unfinished(folder)
    print(f"{deal.photographs} photographs, {len(missing)} of {deal.shards} shards to do", flush=True)
    if missing:
        done = ray.data.from_items([{"shard": number} for number in missing], override_num_blocks=len(missing)).map_batches(
            ScoreShards, fn_constructor_args=(folder,), batch_size=1, num_cpus=1,
            compute=ray.data.ActorPoolStrategy(size=int(workers)),  # fewer than the CPUs, or Ray has none left for reading
        )  # fmt: skip
        for row in done.iter_rows():
            print(f"shard {row['shard']}: {row['scored']} scored, {row['kept']} kept, {row['failed']} failed", flush=True)
    print(f"not done: {unfinished(folder, keep_failures=True) or 'nothing'}")


if __name__ == "__main__":
    main()
