// What windows have in common in every block: regions for the groups, whose pieces go to maps and to the windows' own images.
#pragma once

#include <vector>

#include "core/plan/level.h"
#include "core/plan/tables.h"

namespace dcnn {

// A map that groups of a block read: which of the block's sources it is, the place on the lattice where it begins, and its extents.
struct SourceMap {
  int64_t source, row, col, height, width;
};

// The maps that `next`, the following block or null, reads of a block; for its other phases, which are not stored as a whole, source
// is kNone.
std::vector<SourceMap> maps_of(const Level& level, const Level* next);

// Add to a block's tables the regions of its groups. sources: the maps that they read. maps, next: as `maps_of` gives and takes.
void add_shared(size_t block, const Axis& axis, const Windows& windows, const Level& level, const std::vector<SourceMap>& sources,
                const std::vector<SourceMap>& maps, const Level* next, BlockTables* tables);

}  // namespace dcnn
