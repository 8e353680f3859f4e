// Tiles: how the regions of a block are shared out to Triton's programs.
#pragma once

#include <cstddef>
#include <vector>

#include "core/tables.h"

namespace dcnn {

// What one program owns: height x width convolution outputs of a region; flat: height of them in row-major order, width 1.
struct TileShape {
  int64_t height, width;
  bool flat;
};

// The tiles that cover all regions, in their order; a region's own row by row. Throws std::invalid_argument for more than 2**24.
std::vector<TileRow> tiles_of(const RegionRow* regions, size_t count, const TileShape& shape);

// Tiles of `nothing`, a region with nothing in it, behind the others, so many that few different numbers of tiles come up: less than
// an eighth more.
void add_idle(std::vector<TileRow>* tiles, int64_t nothing);

// `count` rounded up to one of `steps` sizes to an octave.
int64_t rounded(int64_t count, int64_t steps);

}  // namespace dcnn
