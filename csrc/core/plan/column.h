// A column as planning sees it: the sizes of its blocks.
#pragma once

#include <cstdint>
#include <vector>

#include "core/tile.h"

namespace dcnn {

// conv -> bias -> ReLU -> [pool and norm, either order]. Without a pool, pool_size and pool_stride are 1; without a norm within
// maps, norm_size is 1 (a norm across maps reads no neighbours). norm_first: the norm comes before the pool.
struct BlockRow {
  int64_t filters, size, stride, padding, groups, pool_size, pool_stride, norm_size, norm_first;
  int64_t tile_side, tile_size;  // OutputTile
  double tile_macs;
};

// Blocks over windows of `window` x `window` pixels of `channels`. round_up: a last window may hang over the far edge.
struct ColumnShape {
  int64_t channels, window;
  bool round_up;
  std::vector<BlockRow> blocks;
};

// Throws std::invalid_argument naming the impossible value.
void require_column(const ColumnShape& column);

// The number of windows of `size`, `stride` apart, over `extent` places; 0 where none fits.
int64_t window_count(int64_t extent, int64_t size, int64_t stride, bool round_up);

}  // namespace dcnn
