// Views of a photograph on the CPU: resized by Pillow's antialiased bilinear filter, to its bytes, and cut.
//
// Pillow (libImaging/Resample.c) computes a filter for each axis in doubles and rounds its weights to 22 fractional bits. One
// pass resamples along the rows and rounds to bytes, the other along the columns; an axis that keeps its size has no pass.
// Since version 13 the pass down comes first where the height loses more than twice as many pixels as the width. The same steps
// in the same order give the same bytes here, whatever version of Pillow is installed. An output depends only on the pixels
// under its filters, so only those that a cut needs are computed.
//
// Reading order: Filter, Picture, Passes, cut_picture, and resample_strips.h. Nothing here keeps memory or a lock between
// calls.
#pragma once

#include <cstdint>
#include <vector>

#include "core/tables.h"

namespace dcnn {

constexpr int kFilterFraction = 22;  // fractional bits of a weight: Pillow's PRECISION_BITS

// A filter along one axis for consecutive outputs: each output's first pixel and its weights, in groups of four, padded with
// zeros. Leading and trailing zero weights are dropped.
struct Filter {
  std::vector<FilterRow> entries;
  std::vector<int32_t> weights;
};

// The filter of outputs start ... stop - 1 of an axis of `size` pixels resized to `target`. Throws std::invalid_argument naming
// the value out of range, and where the weights would take more memory than Pillow allows.
Filter bilinear_filter(int64_t size, int64_t target, int64_t start, int64_t stop);

// Interleaved bytes of red, green and blue, rows `pitch` bytes apart.
template <typename Byte>
struct PixelRows {
  Byte* bytes;
  int64_t rows, cols, pitch;
};
using Picture = PixelRows<const uint8_t>;
using Canvas = PixelRows<uint8_t>;

// A filter as passes take it. halves: the low 15 bits of each group of four weights, then the bits above, for 16-bit
// multipliers.
struct PassFilter {
  const FilterRow* entries;
  int64_t count;
  const int32_t* weights;
  const int16_t* halves;
};

// An instruction set's two passes; all give the same result. across: `to` has the rows of `from` and a column for each entry of
// the filter. down: the same with rows and columns exchanged.
struct Passes {
  void (*across)(const Picture& from, const PassFilter& filter, const Canvas& to);
  void (*down)(const Picture& from, const PassFilter& filter, const Canvas& to);
};

// Portable passes.
extern const Passes kPlainPasses;

// The rectangle of rows x cols at (top, left) of a picture resized to resized_rows x resized_cols; black outside the picture.
struct PictureCut {
  int64_t resized_rows, resized_cols;
  int64_t top, left;
  int64_t rows, cols;
};

// Writes the cut, [rows, cols, 3] bytes. Throws std::invalid_argument naming the value out of range.
void cut_picture(const Picture& picture, const PictureCut& cut, const Passes& passes, uint8_t* to);

}  // namespace dcnn
