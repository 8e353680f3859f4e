// The work of single windows in a block: the rim of a window that shares, everything of one that does not.
#pragma once

#include "core/plan/level.h"
#include "core/plan/tables.h"

namespace dcnn {

// Adds regions to a block's tables: for every window that shares, its rim, as strips above, below, left and right of its shared
// results; for every other window, all of its results.
void add_rims(size_t block, const Axis& axis, const Windows& windows, const Level& level, BlockTables* tables);

}  // namespace dcnn
