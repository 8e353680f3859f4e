// The operand of LDTILECFG: the shapes of a tile unit's eight tiles.
#pragma once

#include <stdint.h>

namespace dcnn {

struct TileConfig {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};
static_assert(sizeof(TileConfig) == 64, "as the processor reads it");

}  // namespace dcnn
