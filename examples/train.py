"""Train a small double-column network on rated photographs, and measure it on held-out ones.

pip install 'dcnn-fast[train]'
python examples/train.py RATINGS.csv FOLDER [EPOCHS]

RATINGS.csv has the columns path and rating. The run's files are in FOLDER: model files, log, curves, checkpoint.
"""

from __future__ import annotations

import sys
from pathlib import Path

from dcnn_fast import networks
from dcnn_fast.data import load_set
from dcnn_fast.evaluation import measure, predict
from dcnn_fast.nets import build
from dcnn_fast.training import Settings, train


def main() -> None:
    ratings, folder, *epochs = sys.argv[1:]
    data = load_set(ratings)
    network = networks.compact(networks.preset("dcnn"), plane=40, window=32, filters=0.125, fc=(16, 8))
    net = build(network, seed=0)
    settings = Settings(epochs=int(epochs[0]) if epochs else 20, batch=16)
    outcome = train(net, data, settings, Path(folder))
    print("best epoch:", outcome.best)
    found = measure(predict(net, data.test, samples=5))
    print(f"held out: accuracy {found.accuracy:.3f} (always the commonest label: {found.majority:.3f})")


if __name__ == "__main__":
    main()
