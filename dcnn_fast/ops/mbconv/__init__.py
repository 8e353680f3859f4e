"""The inverted residual block: expand, filter each channel, project, add (reference alone so far)."""

from dcnn_fast.ops.mbconv.params import MbConvParams, same_padding
from dcnn_fast.ops.mbconv.reference import MbConvWeights

__all__ = ["MbConvParams", "MbConvWeights", "same_padding"]
