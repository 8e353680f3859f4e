#include "core/launch/tiles.h"

#include <algorithm>

namespace dcnn {

namespace {

constexpr int64_t kSteps = 8;  // sizes to an octave that a number of programs is rounded to

int64_t parts_of(int64_t extent, int64_t part) { return (extent + part - 1) / part; }

}  // namespace

std::vector<TileRow> tiles_of(const RegionRow* regions, size_t count, const TileShape& shape) {
  std::vector<TileRow> tiles;
  for (size_t i = 0; i < count; ++i) {
    const int64_t rows = shape.flat ? regions[i].rows * regions[i].cols : regions[i].rows;
    const int64_t cols = shape.flat ? 1 : regions[i].cols;
    const int64_t down = parts_of(rows, shape.height), across = parts_of(cols, shape.width);
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
