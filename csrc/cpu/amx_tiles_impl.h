// What both kernels of the tile unit say about its tiles, for the operations that tile_amx.h or tile_emulated.h defines.
#pragma once

#include "tile_steps.h"

namespace dcnn {
namespace {

constexpr int64_t kTileSide = 16;                                     // rows of a tile, and floats of a row
constexpr int64_t kTileFloats = kTileSide * kTileSide;
constexpr int64_t kTileValues = kTileSide * kTileDepth;               // of bfloat16

// Tiles of 64-byte rows for as long as this lives: 0 to 4, sums and the left operand, of `left_rows` rows, the others of 16. Released
// afterwards: a thread that keeps tiles has them saved at every switch.
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
