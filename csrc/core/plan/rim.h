// What each window has for itself in a block: its rim, or everything where it does not share.
#pragma once

#include "core/plan/level.h"
#include "core/plan/tables.h"

namespace dcnn {

// Add to a block's tables regions for the rim of every window that shares, as strips above and below its shared results, left and
// right of them; and for the whole of every window that goes by itself.
void add_rims(size_t block, const Axis& axis, const Windows& windows, const Level& level, BlockTables* tables);

}  // namespace dcnn
