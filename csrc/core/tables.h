// The tables that every backend's block executes: regions, their pieces, and the pieces' stores (design.md section 4). This is the
// only statement of their layout; dcnn_fast/ops/region.py says what the fields mean. No header but <cstdint>'s is needed.
#pragma once

#include <cstdint>

namespace dcnn {

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

static_assert(sizeof(RegionRow) == 14 * sizeof(int64_t), "rows hold nothing but their fields");
static_assert(sizeof(PieceRow) == 6 * sizeof(int64_t), "rows hold nothing but their fields");
static_assert(sizeof(StoreRow) == 8 * sizeof(int64_t), "rows hold nothing but their fields");

}  // namespace dcnn
