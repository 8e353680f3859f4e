// Tiles: a block's regions divided among Triton's programs.
#pragma once

#include <cstddef>
#include <vector>

#include "core/tables.h"

namespace dcnn {

// The share of one program: height x width convolution outputs of a region; flat: `height` of them in row-major order, width 1.
struct TileShape {
  int64_t height, width;
  bool flat;
};

// The tiles that cover all regions in order, each region's row by row. Throws std::invalid_argument for more than 2**24.
std::vector<TileRow> tiles_of(const RegionRow* regions, size_t count, const TileShape& shape);

// Appends tiles of the empty region `nothing`, less than an eighth more, so that few different numbers of tiles occur.
void add_idle(std::vector<TileRow>* tiles, int64_t nothing);

// `count` rounded up to one of `steps` sizes per octave.
int64_t rounded(int64_t count, int64_t steps);

}  // namespace dcnn
