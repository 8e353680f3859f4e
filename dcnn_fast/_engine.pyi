"""The C++ engine (csrc/python) as Python sees it; tests/test_engine_stub.py compares this with the compiled module.

Arrays are numpy's, of exactly these types: views of tensors' memory, whose extents and strides the engine checks. A misfit is a
ValueError that names the argument.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# (images, rows, columns) of a source or an output.
_Shape = tuple[int, int, int]

compiler: str
sanitized: bool
block_dtype: np.dtype[np.void]
records: dict[str, np.dtype[np.void]]

class Norm:
    """A response norm; kind: cross_map or same_map. scale: that of one term, already divided by the window's size."""

    def __init__(self, *, kind: str, size: int, scale: float, power: float, k: float) -> None: ...

class Block:
    """conv, bias, ReLU (or ReLU last), then pool and norm in either order.

    pool: (size, stride), (1, 1) for none. rounding: up or down.
    precision: ieee, bf16 or bf16x3. Pixels enter as (pixel - mean) * scale; mean: one value per channel, or empty.
    """

    def __init__(
        self, *, channels: int, filters: int, size: int, stride: int, padding: int, groups: int, rounding: str,
        pool: tuple[int, int], norm: Norm | None, norm_first: bool, precision: str, mean: Sequence[float], scale: float,
        pool_average: bool, relu_last: bool,
    ) -> None: ...  # fmt: skip

class Regions:
    """A copy of region tables that `require_regions` accepts for a block, its sources and its outputs."""

    def __init__(
        self, block: Block, regions: NDArray[np.int64], pieces: NDArray[np.int64], stores: NDArray[np.int64], *,
        sources: Sequence[_Shape], outputs: Sequence[_Shape],
    ) -> None: ...  # fmt: skip

class PackedWeights:
    """A block's weights in the layout of an instruction set's kernels: a copy owned by its creator. Threads and forked
    children may use it; it cannot be pickled. weight: [filters, channels / groups, size, size], contiguous or in channels_last
    memory. taps_only: compute every output as a sum over its taps, so that equal inputs give equal outputs.
    """

    def __init__(
        self, isa: str, block: Block, *, weight: NDArray[np.float32], bias: NDArray[np.float32] | None, taps_only: bool
    ) -> None: ...
    @property
    def block(self) -> Block: ...

class RegionGeometry:
    """A convolution and the following pool, (1, 1) for none. rounding: up or down."""

    def __init__(self, *, size: int, stride: int, padding: int, rounding: str, pool: tuple[int, int]) -> None: ...

class PackedMbConv:
    def __init__(
        self, isa: str, *, channels: int, expanded: int, filters: int, size: int, stride: int, residual: bool, bf16: bool,
        expand: tuple[NDArray[np.float32], NDArray[np.float32]] | None,
        depthwise: tuple[NDArray[np.float32], NDArray[np.float32]], project: tuple[NDArray[np.float32], NDArray[np.float32]],
    ) -> None: ...  # fmt: skip

class Backbone:
    def __init__(
        self, isa: str, *, stem: tuple[NDArray[np.float32], NDArray[np.float32]], stride: int, mean: Sequence[float],
        scale: float, blocks: Sequence[PackedMbConv], head: tuple[NDArray[np.float32], NDArray[np.float32]],
        taps: Sequence[int], bf16: bool,
    ) -> None: ...  # fmt: skip
    def features(self, x: NDArray[np.float32] | NDArray[np.uint8], *, threads: int) -> NDArray[np.float32]: ...

class ColumnRegions:
    """The regions of a column's blocks. blocks: each one's tables of regions, pieces and stores, which are copied, and the
    shapes of its outputs.
    """

    def __init__(
        self, blocks: Sequence[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], Sequence[_Shape]]]
    ) -> None: ...
    def __len__(self) -> int: ...
    def tables(self, block: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], tuple[_Shape, ...]]:
        """A block's tables, as views of the memory here."""

    def outputs(self, block: int) -> list[_Shape]:
        """The shapes of a block's outputs."""

    def require(self, geometries: Sequence[RegionGeometry], plane: _Shape) -> None:
        """Raises ValueError as `require_regions` does for the first block whose regions leave its source or outputs."""

class TileShape:
    """A Triton program's part of a region (csrc/core/launch/tiles.h)."""

    def __init__(self, *, height: int, width: int, flat: bool) -> None: ...

class StripCutter:
    """Cuts regions into strips for a tile of the CUDA C++ block (csrc/core/launch/strips.h)."""

    def __init__(
        self, *, outputs: int, ring: int, plane: int, fetched: int, span: int, steps: int, size: int, stride: int,
        pool_size: int, pool_stride: int, most_rows: int, most_cols: int,
    ) -> None: ...  # fmt: skip
    def rows_of(self, arg0: int) -> int: ...

class BlockShape:
    """How a block's regions become programs, and the size of its maps (csrc/core/launch/column.h). item: bytes per value."""

    @staticmethod
    def tiles(shape: TileShape, *, filters: int, item: int) -> BlockShape: ...
    @staticmethod
    def strips(cutter: StripCutter, *, programs: int, filters: int, item: int) -> BlockShape: ...

class ColumnTables:
    """The tables of a column's launches, for one image after another, in the place of the previous image's
    (csrc/core/launch/column.h).
    """

    def __init__(self, blocks: Sequence[BlockShape], again: bool) -> None: ...
    def lay(self, regions: ColumnRegions, source: Sequence[int]) -> tuple[int, int, int, list[int], bool]:
        """Bytes of the tables, of all maps but the last block's, and of those; each block's programs; whether tables moved.
        source: block 1's address and strides of image, row, column and channel.
        """

    def write(self, to: NDArray[np.uint8], maps: int, last: int) -> None: ...
    def places(self, block: int) -> list[tuple[int, int]]: ...

def isas() -> list[str]: ...
def refusals() -> dict[str, str]: ...
def emulated_isas() -> list[str]: ...
def features() -> dict[str, bool]: ...
def has_bf16(isa: str) -> bool: ...
def has_tiles(isa: str) -> bool: ...
def peak(isa: str, rounds: int) -> float: ...
def require_regions(
    regions: NDArray[np.int64], pieces: NDArray[np.int64], stores: NDArray[np.int64], *, sources: Sequence[_Shape],
    outputs: Sequence[_Shape], size: int, stride: int, padding: int, rounding: str, pool: tuple[int, int],
) -> None: ...  # fmt: skip
def plan(
    blocks: NDArray[np.void],
    channels: int,
    window: int,
    round_up: bool,
    windows: NDArray[np.int64],
    plane: tuple[int, int],
    macs_per_byte: float,
    always: bool,
) -> tuple[bool, NDArray[np.int64], ColumnRegions]: ...
def output_tile(isa: str, *, size: int, stride: int, channels: int, filters: int, precision: str) -> tuple[int, int, float]: ...
def patch_units(*, size: int, stride: int, span: int, steps: int, cols: int, rows: int) -> tuple[int, int]: ...
def tiles(regions: NDArray[np.int64], shape: TileShape) -> NDArray[np.int64]: ...
def strips(regions: NDArray[np.int64], pieces: NDArray[np.int64], cutter: StripCutter, blocks: int) -> NDArray[np.int64]: ...
def window_offsets(
    arg0: tuple[int, int], arg1: int, arg2: tuple[int, int], arg3: tuple[int, int], arg4: int
) -> NDArray[np.int64]:
    """(key, samples, the maximum of a window's draws, the maximum of a crop's, grid)."""

def bilinear_filter(arg0: int, arg1: int, arg2: int, arg3: int) -> tuple[NDArray[np.void], NDArray[np.int32]]:
    """(size, target, first output, after the last)."""

def cut_picture(
    arg0: str, arg1: np.ndarray, arg2: tuple[int, int], arg3: tuple[int, int], arg4: tuple[int, int]
) -> NDArray[np.uint8]:
    """(instruction set, pixels, target size, origin, shape)."""

colors: int

def turned(arg0: str, arg1: NDArray[np.uint8], arg2: int) -> NDArray[np.uint8]:
    """(instruction set, pixels [H, W, 3], orientation)."""

def summarized(
    arg0: str, arg1: NDArray[np.uint8], arg2: int, arg3: bytes, arg4: tuple[int, int] | None
) -> tuple[bytes, NDArray[np.uint8] | None]:
    """(instruction set, pixels [H, W, 3] as decoded, orientation, bytes to hash first, target size).

    Returns the SHA-256 digest, and the picture, None where its vertical pass comes first or no size is given.
    """

def recolor(arg0: NDArray[np.uint8], arg1: NDArray[np.uint32]) -> NDArray[np.int64]:
    """(pixels [n, 3], changed in place; table)."""

def learn_colors(arg0: NDArray[np.uint8], arg1: NDArray[np.int64], arg2: NDArray[np.uint8], arg3: NDArray[np.uint32]) -> None:
    """(pixels [n, 3], places [m], found [m, 3], table); pixels and table are changed in place."""

def packed_weights(
    isa: str, block: Block, *, weight: NDArray[np.float32], bias: NDArray[np.float32] | None, taps_only: bool
) -> PackedWeights: ...
def block_regions(
    weights: PackedWeights, regions: Regions, *, sources: Sequence[NDArray[np.float32] | NDArray[np.uint8]],
    outputs: Sequence[NDArray[np.float32]], hits: NDArray[np.int16] | None, values: NDArray[np.float32] | None, threads: int,
) -> None: ...  # fmt: skip
def looked_up_block_regions(
    isa: str, block: Block, regions: Regions, *, weight: NDArray[np.float32], bias: NDArray[np.float32] | None,
    taps_only: bool, sources: Sequence[NDArray[np.float32] | NDArray[np.uint8]], outputs: Sequence[NDArray[np.float32]],
    hits: NDArray[np.int16] | None, values: NDArray[np.float32] | None, threads: int,
) -> None:  # fmt: skip
    """`block_regions` with the result of `packed_weights`."""

def column(
    isa: str, blocks: Sequence[Block], regions: ColumnRegions, *, weights: Sequence[NDArray[np.float32]],
    biases: Sequence[NDArray[np.float32] | None], plane: NDArray[np.float32] | NDArray[np.uint8], threads: int,
) -> NDArray[np.float32]:  # fmt: skip
    """The last block's output 0, [windows, filters, rows, cols]."""

def mbconv(weights: PackedMbConv, *, x: NDArray[np.float32], out: NDArray[np.float32], threads: int) -> None: ...
def block_gradients(
    isa: str, block: Block, *, x: NDArray[np.float32] | NDArray[np.uint8], weight: NDArray[np.float32],
    bias: NDArray[np.float32] | None, grad: NDArray[np.float32], values: NDArray[np.float32] | None,
    hits: NDArray[np.int16] | None, ties: str, grad_x: NDArray[np.float32] | None, grad_weight: NDArray[np.float32] | None,
    grad_bias: NDArray[np.float32] | None, threads: int,
) -> None: ...  # fmt: skip
def linear(
    isa: str, *, x: NDArray[np.float32] | NDArray[np.int16], weight: NDArray[np.float32] | NDArray[np.int16],
    bias: NDArray[np.float32], y: NDArray[np.float32], relu: bool, threads: int,
) -> None: ...  # fmt: skip
def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]: ...
def update(
    *, parameters: Sequence[np.ndarray], gradients: Sequence[np.ndarray], increments: Sequence[np.ndarray],
    rates: Sequence[float], momenta: Sequence[float], pulls: Sequence[float], threads: int,
) -> None: ...  # fmt: skip
def emulated_tile_product(
    config: NDArray[np.uint8], a: NDArray[np.uint16], b: NDArray[np.uint16], c: NDArray[np.float32]
) -> None: ...
