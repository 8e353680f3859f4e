"""Small sets in memory with learnable labels: dark and light pictures."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import numpy as np
from PIL import Image

from dcnn_fast.data import DataSet, Example
from dcnn_fast.nets import build
from dcnn_fast.networks import Network
from tests import small

LABELS = ("low", "high")


def example(number, **changes):
    generator = np.random.default_rng(number)
    label = int(generator.integers(2))
    height, width = generator.integers(36, 60, 2)
    pixels = generator.integers(0, 150, (height, width, 3)).astype(np.uint8) + np.uint8(80 * label)
    return Example(**{"source": pixels, "key": f"picture {number}", "label": label, **changes})


def data_set(train=50, test=16):
    return DataSet(LABELS, tuple(map(example, range(train))), tuple(example(10_000 + i) for i in range(test)))


def in_files(data, folder):
    """The set with its pictures as files in a folder; missing files are created with a time a minute ago."""
    folder.mkdir(exist_ok=True)

    def written(example):
        path = folder / f"{example.key}.png"
        if not path.exists():
            Image.fromarray(example.source).save(path)
            os.utime(path, (time.time() - 60,) * 2)
        return replace(example, source=str(path))

    return replace(data, **{part: tuple(map(written, getattr(data, part))) for part in ("train", "test")})


def net(*, dropout=0.5, views=("local", "warp"), seed=1):
    return build(Network("small", tuple(small.column(view, dropout=dropout) for view in views), LABELS), seed=seed)


def weights(net):
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def without_times(history):
    return [{name: value for name, value in row.items() if "second" not in name} for row in history]
