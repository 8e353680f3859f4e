"""Make the shipped model, and measure the recipe on themes it has not seen.

    DCNN_FAST_DATA=... python -m tools.default_model --out dcnn_fast/models

Stages: (1) photographs against the same with one photographic fault, on unrated photographs; (2) teaching with a frozen
ImageNet network's features and people's ratings, once for each of five folds that share no theme, each measured on its
held-out pictures by the full protocol of 50 views; (3) the same on all pictures: the model that is shipped.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import StratifiedGroupKFold

from dcnn_fast.evaluation import Agreement, agreement
from dcnn_fast.nets import Model, MultiColumn, save_model
from dcnn_fast.scoring import Scorer
from tools.default_model import pictures, recipe, squeezenet
from tools.default_model.pictures import Crops, Picture

CROPS, VARIANTS, FOLDS = 8, 3, 5


def _held_out_scores(net: MultiColumn, held_out: Sequence[Picture]) -> np.ndarray:
    """P(high) of each picture by the protocol users get: 50 views, seed 0."""
    scorer = Scorer(Model(copy.deepcopy(net).eval()))
    return np.array([score.mean for score in scorer.score_many(picture.pixels for picture in held_out)])


def _pretrained(unrated: Sequence[Picture], mean: tuple[float, ...], epochs: int, seed: int) -> tuple[MultiColumn, float]:
    """A network that has learnt faults on four fifths of the unrated photographs, and its accuracy on the last fifth."""
    net = MultiColumn(recipe.network(mean)).initialise(seed)
    task = recipe.fault_task(unrated, VARIANTS, seed)
    held_out = np.random.default_rng(seed).permutation(len(unrated))[: len(unrated) // 5]
    return net, recipe.pretrain(net, task, held_out, epochs, seed)


def _taught(
    start: MultiColumn,
    source: Crops,
    everything: Sequence[Picture],
    features: np.ndarray,
    chosen: np.ndarray,
    epochs: int,
    seed: int,
) -> MultiColumn:
    net = copy.deepcopy(start)
    rows = np.flatnonzero(np.isin(source.picture, chosen))
    recipe.teach(net, source, everything, features, rows, epochs=epochs, seed=seed)
    return net


def _line(name: str, result: Agreement, start: float) -> str:
    rates = f"accuracy {result.accuracy:.3f}, balanced {result.balanced_accuracy:.3f}, majority {result.majority:.3f}"
    seconds = time.monotonic() - start
    return f"{name}: n {result.count}, AUC {result.auc:.3f}, {rates}, SRCC {result.srcc:.3f} ({seconds:.0f} s)"


def main() -> None:
    """Run all stages; write default.safetensors and results.json to --out."""
    parser = argparse.ArgumentParser(prog="python -m tools.default_model", description="Makes the shipped model.")
    parser.add_argument("--data", type=Path, default=os.environ.get("DCNN_FAST_DATA"), help="default: DCNN_FAST_DATA")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--fault-epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("--data or DCNN_FAST_DATA must name the data folder")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    start = time.monotonic()

    rated, unrated = pictures.rated(arguments.data), pictures.unrated(arguments.data)
    everything = [*rated, *unrated]
    ratings, themes = np.array([p.rating for p in rated]), np.array([p.theme for p in rated])
    median = float(np.median(ratings))
    source = pictures.crops(everything, CROPS, recipe.PLANE, arguments.seed)
    features = squeezenet.features(arguments.data / "squeezenet", source.pixels)
    print(
        f"{len(rated)} rated, {len(unrated)} unrated, {len(source.pixels)} crops ({time.monotonic() - start:.0f} s)", flush=True
    )

    mean = recipe.channel_mean(unrated)
    base, fault_accuracy = _pretrained(unrated, mean, arguments.fault_epochs, arguments.seed)
    print(
        f"faults: accuracy {fault_accuracy:.3f} on unseen photographs, base rate 0.500 ({time.monotonic() - start:.0f} s)",
        flush=True,
    )

    high, rest = np.empty(len(rated)), np.arange(len(rated), len(everything))
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=arguments.seed)
    folds = []
    for number, (train, test) in enumerate(splitter.split(ratings, ratings > median, themes)):
        chosen = np.concatenate([train, rest])
        net = _taught(base, source, everything, features, chosen, arguments.epochs, arguments.seed + number)
        high[test] = _held_out_scores(net, [rated[i] for i in test])
        folds.append(agreement(high[test], ratings[test], median))
        print(_line(f"fold {number}", folds[-1], start), flush=True)
    pooled = agreement(high, ratings, median)
    print(_line("pooled", pooled, start), flush=True)

    net = _taught(base, source, everything, features, np.arange(len(everything)), arguments.epochs, arguments.seed)
    results = {
        "pooled": asdict(pooled),
        "mean AUC over folds": float(np.mean([fold.auc for fold in folds])),
        "folds": [asdict(fold) for fold in folds],
        "fault accuracy": fault_accuracy,
        "rating threshold": median,
    }
    provenance = {
        "trained on": f"{len(unrated)} freely licensed photographs; OASIS, {len(rated)} photographs with beauty ratings "
        "(Kurdi et al. 2017; Brielmann and Pelli 2019); taught by ImageNet SqueezeNet v1.0 features",
        "held out": results,
        "recipe": {"epochs": arguments.epochs, "fault epochs": arguments.fault_epochs, "crops": CROPS, "seed": arguments.seed},
        "high means": f"a mean beauty rating above {median:.3f} of 7, the median of OASIS",
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    save_model(Model(net, provenance), arguments.out / "default.safetensors")
    (arguments.out / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    print(f"wrote {arguments.out / 'default.safetensors'} ({time.monotonic() - start:.0f} s)")


if __name__ == "__main__":
    main()
