"""Plan a photograph's windows, print how much work sharing saves, and draw the regions of the first block.

python examples/plan_and_draw.py PHOTOGRAPH PICTURE.svg
"""

from __future__ import annotations

import sys
from pathlib import Path

from dcnn_fast import networks, plan
from dcnn_fast.plan.cost import costs_of
from dcnn_fast.scoring.prepare import prepare
from dcnn_fast.viz.plan_picture import plan_picture


def main() -> None:
    photograph, picture = sys.argv[1:]
    network = networks.preset("dcnn")
    jobs = prepare(photograph, network, samples=50, grid=1, seed=0).jobs
    for key, column, job in zip(network.column_keys(), network.columns, jobs, strict=True):
        alone = plan.brute_force(column, job.windows)
        print(f"column {key}, plan {job.plan.name}:")
        for number, cost in enumerate(costs_of(column, "cpu")):
            shared, every = (cost.multiplications(made.blocks[number]) for made in (job.plan, alone))
            print(
                f"  block {number + 1}: {shared:,.0f} multiplications, {every / shared:.2f} times fewer than window by window"
            )
    Path(picture).write_text(plan_picture(network, jobs))


if __name__ == "__main__":
    main()
