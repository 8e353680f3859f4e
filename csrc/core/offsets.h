// Where the windows of a view lie: draws from a counter-based generator (docs/design.md#scores).
//
// The generator is Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) with numpy's counter.
// Sample i takes the four words of block i + 1, so it depends only on its number and the key.
#pragma once

#include <cstdint>

namespace dcnn {

// Derived from seed, photograph and column by dcnn_fast/ops/views/offsets.py.
struct DrawKey {
  uint64_t low, high;
};

// The largest draws along one axis, all below 2**31: the window's in its plane, and the plane's in the photograph, 0 where
// there is no such draw.
struct DrawLimits {
  int64_t window, crop;
};

// Writes the (row, column) of each of `count` samples to offsets[2 * i] and offsets[2 * i + 1]. A draw is uniform over the
// multiples of `grid` from 0 to its limit; an offset is the sum of the window's draw and the crop's. Throws
// std::invalid_argument naming the value out of range.
void draw_offsets(const DrawKey& key, int64_t count, const DrawLimits& rows, const DrawLimits& cols, int64_t grid, int64_t* offsets);

}  // namespace dcnn
