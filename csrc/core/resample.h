// Views of a photograph on the CPU: resized by Pillow's antialiased bilinear filter, to its bytes, and cut.
//
// Pillow (libImaging/Resample.c) makes a filter for each axis, in doubles, and rounds its weights to 22 bits behind the point. One
// pass resamples along the rows and rounds to bytes, the other along the columns; an axis whose size stays has no pass. Since version
// 13 the pass down comes first where the height loses more than twice the pixels that the width does. The same steps here, in the
// same order, give the same bytes, whatever version of Pillow is installed. An output depends on the pixels under its own filters
// alone, so only those that a cut needs are computed.
//
// To be read in this order: Filter, Picture, Passes, cut_picture, and resample_strips.h. Nothing here keeps memory or a lock from one
// call to the next.
#pragma once

#include <cstdint>
#include <vector>

#include "core/tables.h"

namespace dcnn {

constexpr int kFilterFraction = 22;  // bits of a weight behind the point: Pillow's PRECISION_BITS

// A filter along one axis for some outputs in turn: where each reads, and its weights, in groups of four of which the last one ends
// in zeros. Zero weights before and behind are left out.
struct Filter {
  std::vector<FilterRow> entries;
  std::vector<int32_t> weights;
};

// Outputs start ... stop - 1 of the `target` that an axis of `size` pixels becomes. Throws std::invalid_argument naming what is out of
// range, and where the weights would take more memory than Pillow would give them.
Filter bilinear_filter(int64_t size, int64_t target, int64_t start, int64_t stop);

// Bytes of red, green and blue beside each other, rows `pitch` bytes apart.
template <typename Byte>
struct PixelRows {
  Byte* bytes;
  int64_t rows, cols, pitch;
};
using Picture = PixelRows<const uint8_t>;
using Canvas = PixelRows<uint8_t>;

// A filter as passes take it. halves: of each group of four weights their low 15 bits, then the bits above, for instructions that
// multiply 16 bits.
struct PassFilter {
  const FilterRow* entries;
  int64_t count;
  const int32_t* weights;
  const int16_t* halves;
};

// The two passes, as an instruction set computes them; all have the same result. across: `to` has the rows of `from`, and a column for
// each of the filter's entries. down: the other way round.
struct Passes {
  void (*across)(const Picture& from, const PassFilter& filter, const Canvas& to);
  void (*down)(const Picture& from, const PassFilter& filter, const Canvas& to);
};

// For any processor.
extern const Passes kPlainPasses;

// The rectangle of rows x cols at (top, left) of a picture resized to resized_rows x resized_cols; what lies outside of it is black.
struct PictureCut {
  int64_t resized_rows, resized_cols;
  int64_t top, left;
  int64_t rows, cols;
};

// Writes the cut, [rows, cols, 3] bytes. Throws std::invalid_argument naming what is out of range.
void cut_picture(const Picture& picture, const PictureCut& cut, const Passes& passes, uint8_t* to);

}  // namespace dcnn
