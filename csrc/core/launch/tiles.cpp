#include "core/launch/tiles.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "core/sizes.h"

namespace dcnn {

namespace {

constexpr int64_t kMostTiles = int64_t{1} << 24;  // per launch: 400 MB of tables

constexpr int64_t kSteps = 8;  // sizes per octave to which a number of programs is rounded

int64_t parts_of(int64_t extent, int64_t part) { return (extent + part - 1) / part; }

}  // namespace

std::vector<TileRow> tiles_of(const RegionRow* regions, size_t count, const TileShape& shape) {
  const auto parts = [&](const RegionRow& region) {
    const int64_t rows = shape.flat ? region.rows * region.cols : region.rows, cols = shape.flat ? 1 : region.cols;
    return std::pair{parts_of(rows, shape.height), parts_of(cols, shape.width)};
  };
  int64_t needed = 0;
  for (size_t i = 0; i < count; ++i) {
    const auto [down, across] = parts(regions[i]);
    needed = sum_at_most(needed, product_at_most(down, across));
  }
  if (needed > kMostTiles) {
    throw std::invalid_argument("tables: regions must be covered by at most 2**24 tiles, got " + std::to_string(needed));
  }
  std::vector<TileRow> tiles;
  tiles.reserve(static_cast<size_t>(needed));
  for (size_t i = 0; i < count; ++i) {
    const auto [down, across] = parts(regions[i]);
    for (int64_t row = 0; row < down; ++row) {
      for (int64_t col = 0; col < across; ++col) {
        tiles.push_back({static_cast<int64_t>(i), row * shape.height, col * shape.width});
      }
    }
  }
  return tiles;
}

void add_idle(std::vector<TileRow>* tiles, int64_t nothing) {
  const int64_t count = static_cast<int64_t>(tiles->size());
  tiles->resize(static_cast<size_t>(rounded(count, kSteps)), {nothing, 0, 0});
}

int64_t rounded(int64_t count, int64_t steps) {
  int64_t octave = 1;
  while (octave < count) octave *= 2;
  const int64_t step = std::max<int64_t>(1, octave / (2 * steps));
  return (count + step - 1) / step * step;
}

}  // namespace dcnn
