"""Training: the loop that made the shipped model."""

from dcnn_fast.training.loop import Batch, fit

__all__ = ["Batch", "fit"]
