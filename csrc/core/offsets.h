// Where the windows of a view lie: draws from a counter-based generator (docs/design.md#scores).
//
// The generator is Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) with the counter as numpy's
// Philox has it. Sample i takes the four words of block i + 1, so it depends on its number and the key alone.
#pragma once

#include <cstdint>

namespace dcnn {

// Of seed, picture and column: dcnn_fast/ops/views/offsets.py makes it.
struct DrawKey {
  uint64_t low, high;
};

// The most that the draws along one axis may be, all below 2**31: that of the window in its plane, and that of the plane in the
// photograph before, which is 0 where there is no such draw.
struct DrawLimits {
  int64_t window, crop;
};

// (row, column) of each of `count` samples, to offsets[2 * i] and offsets[2 * i + 1]. A draw is uniform over the multiples of `grid`
// from 0 to its limit; an offset is the sum of the window's and the crop's. Throws std::invalid_argument naming what is out of range.
void draw_offsets(const DrawKey& key, int64_t count, const DrawLimits& rows, const DrawLimits& cols, int64_t grid, int64_t* offsets);

}  // namespace dcnn
