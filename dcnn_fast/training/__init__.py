"""Training: the loop that made the shipped model, and cuda-convnet's update rule."""

from dcnn_fast.training.loop import Batch, fit
from dcnn_fast.training.update_rule import ConvNetUpdate, groups_of

__all__ = ["Batch", "ConvNetUpdate", "fit", "groups_of"]
