"""The study's sizes: networks, training sets, epochs, with the differences from the paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """plane, window: of the trained columns, in pixels; the paper's are 256 and 224. filters, fc: a factor for every block's
    filters, and the fully-connected layers. sizes: numbers of training photographs, each with its epochs, beside the whole
    training part and its epochs. batch, rate: for a mini-batch; biases have twice the rate. further: the share of the epochs
    for a network that starts from trained columns. fine: epochs on the few photographs of a category or with attributes.
    """

    plane: int
    window: int
    filters: float
    fc: tuple[int, ...]
    sizes: Mapping[int, int]
    whole: int  # epochs
    batch: int
    rate: float
    further: float
    fine: int
    seeds: int
    above: int  # epochs for the layers above the frozen ones
    architectures: tuple[int, ...]
    samples: int  # in evaluating a photograph
    fewest: int  # least photographs of a category for adapting
    resamples: int  # of the bootstrap in the report


# Half the paper's sides: the copy of PARA has photographs of 224 pixels, and a column of 112 costs a quarter. A local view is a
# crop of 128 of the 224 pixels; the warped one is the whole photograph.
FULL = Recipe(
    plane=128, window=112, filters=1.0, fc=(1000, 256), sizes={500: 60, 2000: 40, 5000: 24, 10_000: 16}, whole=10, batch=32,
    rate=0.002, further=0.5, fine=10, seeds=3, above=20, architectures=(2, 3, 4, 5, 6, 7), samples=50, fewest=100,
    resamples=1000,
)  # fmt: skip
# A trial run of the study on a few drawn photographs, in a minute or two.
QUICK = Recipe(
    plane=36, window=32, filters=0.125, fc=(16, 8), sizes={24: 2}, whole=2, batch=8, rate=0.001, further=0.5, fine=1, seeds=1,
    above=2, architectures=(2,), samples=2, fewest=4, resamples=50,
)  # fmt: skip
