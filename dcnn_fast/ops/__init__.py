"""Operations: a reference for each, the backends that compute it fast, and the choice between them."""

from dcnn_fast.networks import CrossMapNorm, Pool, SameMapNorm
from dcnn_fast.ops.block import block, block_regions
from dcnn_fast.ops.head import head
from dcnn_fast.ops.linear import linear
from dcnn_fast.ops.mbconv import MbConvWeights, mbconv
from dcnn_fast.ops.norm import response_norm
from dcnn_fast.ops.pool import max_pool
from dcnn_fast.ops.region import Piece, Region, RegionList, Store
from dcnn_fast.ops.update import update

__all__ = [
    "CrossMapNorm",
    "MbConvWeights",
    "Piece",
    "Pool",
    "Region",
    "RegionList",
    "SameMapNorm",
    "Store",
    "block",
    "block_regions",
    "head",
    "linear",
    "max_pool",
    "mbconv",
    "response_norm",
    "update",
]
