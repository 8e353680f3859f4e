#include "core/plan/column.h"

#include <cmath>
#include <stdexcept>
#include <string>

#include "core/plan/range.h"

namespace dcnn {

namespace {

constexpr int64_t kMost = (int64_t{1} << 31) - 1;  // so that sums and most products of two fit 64 bits
constexpr int64_t kMostTile = 1 << 16;

void require(bool holds, size_t block, const char* rule) {
  if (!holds) throw std::invalid_argument("column: block " + std::to_string(block + 1) + ": " + rule);
}

bool between(int64_t least, int64_t value, int64_t most) { return least <= value && value <= most; }

void require_block(const BlockRow& b, size_t i, int64_t channels) {
  require(between(1, b.filters, kMost) && between(1, b.groups, b.filters), i, "filters and groups must be 1 to 2**31 - 1");
  require(b.filters % b.groups == 0 && channels % b.groups == 0, i, "groups must divide filters and channels");
  require(between(1, b.size, kMost) && between(1, b.stride, b.size), i, "size must be at least stride, and that at least 1");
  require(between(0, b.padding, b.size - 1), i, "padding must be less than size");
  require(between(1, b.pool_size, kMost) && between(1, b.pool_stride, b.pool_size), i,
          "the pool's size must be at least its stride, and that at least 1");
  require(between(1, b.norm_size, kMost), i, "the norm's size must be at least 1");
  require(between(1, b.tile_side, kMostTile) && between(b.size, b.tile_size, kMost), i,
          "tiles must be of 1 to 65536 outputs, of inputs that hold a filter's");
  require(std::isfinite(b.tile_macs) && b.tile_macs >= 0, i, "a tile's multiply-adds must be a finite number, not negative");
}

}  // namespace

void require_column(const ColumnShape& column) {
  if (!between(1, column.channels, kMost) || !between(1, column.window, kMost) || column.blocks.empty()) {
    throw std::invalid_argument("column: it must have channels, a window and blocks");
  }
  int64_t extent = column.window, channels = column.channels, step = 1;
  for (size_t i = 0; i < column.blocks.size(); ++i) {
    const BlockRow& b = column.blocks[i];
    require_block(b, i, channels);
    extent = window_count(extent + 2 * b.padding, b.size, b.stride, column.round_up);
    extent = window_count(extent, b.pool_size, b.pool_stride, column.round_up);
    require(extent >= 1, i, "it does not fit its input");
    for (const int64_t stride : {b.stride, b.pool_stride}) {
      require(step <= kMost / stride, i, "the strides' product must be less than 2**31");
      step *= stride;
    }
    channels = b.filters;
  }
}

int64_t window_count(int64_t extent, int64_t size, int64_t stride, bool round_up) {
  if (extent <= 0) return 0;
  const int64_t steps = round_up ? ceil_div(extent - size, stride) : floor_div(extent - size, stride);
  return std::max<int64_t>(0, 1 + steps);
}

}  // namespace dcnn
