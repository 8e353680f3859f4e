// The tables that kernels execute, as records: the only statement of their layout. The CPU's and the CUDA kernels include this file;
// dcnn_fast/ops/records.py (numpy dtypes) and dcnn_fast/ops/block/triton/records.py (column numbers) are made from it by
// `python -m devtools.table_records`. A record holds fields of one integer type and nothing else. No header but <cstdint>'s is needed.
#pragma once

#ifdef __CUDACC_RTC__  // NVRTC has no headers
using int32_t = int;
using int64_t = long long;
#else
#include <cstdint>
#endif

namespace dcnn {

// ---- Regions, their pieces, and the pieces' stores: what every backend's block executes (design.md section 4). Values but for
// addresses and strides are below 2**31 (`require_regions` of dcnn_fast/ops/region.py, which says what they mean).

// A rectangle of rows x cols convolution outputs of one image of one source, and which pieces it emits: `count` from `first` on.
struct RegionRow {
  int64_t source, image;
  int64_t window_top, window_left, window_height, window_width;  // what is read; everything outside reads as zero
  int64_t top, left;                                             // the corner of the first output's receptive field
  int64_t rows, cols;
  int64_t lattice_top, lattice_left;  // of the first output, on the lattice that all windows of an image share
  int64_t first, count;
};

// Block outputs of one pool phase of a region, and where they go: `count` stores from `first` on.
struct PieceRow {
  int64_t top, left;  // the convolution output of the region where the first pool window starts
  int64_t rows, cols;
  int64_t first, count;
};

// A rectangle of a piece's results, and its place in an image of an output.
struct StoreRow {
  int64_t skip_top, skip_left;
  int64_t height, width;
  int64_t output, image, out_top, out_left;
};

// ---- What the block's GPU kernels read besides.

// Where a source lies: its address, and the strides of its image, row, column and channel in elements.
struct SourceRow {
  int64_t address, image, row, col, channel;
};

// Where an output [images, rows, columns, filters] lies, and its extents.
struct OutputRow {
  int64_t address, rows, cols;
};

// The tile of one Triton program: a region, and the first row and column that it owns; of a flat tile, the first position and 0.
struct TileRow {
  int64_t region, row, col;
};

// A strip of a region, for CUDA C++: its outputs from (row, col) on, rows x cols of them, computed `step` rows at a time. It owns the
// pool windows that start in its first own_rows x own_cols.
struct StripRow {
  int64_t region, row, col, rows, cols, own_rows, own_cols, step;
};

// One result of a piece, for the simple CUDA kernel.
struct ResultRow {
  int64_t region, piece, row, col;
};

// ---- Views on a GPU (csrc/cuda/views/planes.cu).

// A photograph's bytes, and the cut that is made of it. axis_x, axis_y: the filter of the cut's first column and row.
struct CutRow {
  int64_t address, pitch, channels, height, width;
  int64_t out, out_width, axis_x, axis_y, flip;
};

// A thread block's rectangle of a cut, the source rows it stages at a time, and its chunks: `count` from `first` on; none: black.
struct CutTileRow {
  int32_t cut, col, cols, row, rows, group, first, count;
};

// Columns of a tile whose source pixels, from `pixel` on, fit a staged row of so many words.
struct CutChunkRow {
  int32_t col, cols, pixel, words;
};

// How one output of an axis is resampled: its first pixel, its taps, and its weights, `quads` groups of four from `weights` on.
struct FilterRow {
  int32_t first, taps, weights, quads;
};

}  // namespace dcnn
