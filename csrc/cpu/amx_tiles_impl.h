// Definitions shared by both kernels of the tile unit, for the operations of tile_amx.h or tile_emulated.h.
#pragma once

#include "tile_steps.h"

namespace dcnn {
namespace {

constexpr int64_t kTileSide = 16;                                     // rows of a tile, and floats per row
constexpr int64_t kTileFloats = kTileSide * kTileSide;
constexpr int64_t kTileValues = kTileSide * kTileDepth;               // bfloat16 values of a tile

// Configures tiles of 64-byte rows for its lifetime: 0 to 4, the sums and the left operand, with `left_rows` rows, the others
// with 16. Tiles are released afterwards, as the system saves configured ones at every thread switch.
class TilesInUse {
 public:
  explicit TilesInUse(int64_t left_rows) {
    TileConfig config{};
    config.palette = 1;
    for (int t = 0; t < 8; ++t) {
      config.rows[t] = t < 5 ? static_cast<uint8_t>(left_rows) : kTileSide;
      config.row_bytes[t] = kTileSide * sizeof(float);
    }
    tile_configure(config);
  }
  ~TilesInUse() { tile_release(); }
  TilesInUse(const TilesInUse&) = delete;
  TilesInUse& operator=(const TilesInUse&) = delete;
};

}  // namespace
}  // namespace dcnn
