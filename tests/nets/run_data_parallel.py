"""A process of a data-parallel step on gloo: `python -m tests.nets.run_data_parallel RANK FOLDER`.

Writes this process's gradients under every use of DistributedDataParallel to FOLDER/RANK.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel

from dcnn_fast import nets
from tests import small

WAYS = {
    "as it is": {},
    "unused": {"find_unused_parameters": True},
    "static graph": {"static_graph": True},
    "bucket views": {"gradient_as_bucket_view": True},
}
BATCH, PROCESSES = 6, 2


def network():
    """Two columns without dropout, and a second task whose layer a loss may leave unused."""
    return nets.build(small.network(attributes=("soft", "hdr"), dropout=0.0), seed=3)


def batch():
    """Windows for both columns, and targets."""
    generator = torch.Generator().manual_seed(1)
    windows = [torch.randint(0, 256, (BATCH, 3, 24, 24), dtype=torch.uint8, generator=generator) for _ in range(2)]
    return windows, torch.tensor([0, 1, 1, 0, 1, 0])


def gradients(net, parameters, windows, targets, *, autocast, unused):
    """Gradients by name after two rounds of forward and backward, of which the first is discarded."""
    for _ in range(2):
        net.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            logits, attributes = net(*windows)
        loss = F.cross_entropy(logits.float(), targets)
        (loss if unused else loss + attributes.float().square().mean()).backward()
    return {name: parameter.grad.clone() for name, parameter in parameters if parameter.grad is not None}


def main(rank: int, folder: Path) -> None:
    """Join the other process, compute and write the gradients."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=PROCESSES)
    windows, targets = batch()
    mine = [each[rank::PROCESSES] for each in windows], targets[rank::PROCESSES]
    found = {}
    for way, options in WAYS.items():
        for autocast in (False, True):
            net = network()
            parallel = DistributedDataParallel(net, **options)
            unused = way == "unused"
            found[way, autocast] = gradients(parallel, list(net.named_parameters()), *mine, autocast=autocast, unused=unused)
    torch.save(found, folder / str(rank))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
