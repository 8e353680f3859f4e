// The shared work of every block: regions for the groups, whose pieces go to maps and to the windows' own images.
#pragma once

#include <vector>

#include "core/plan/level.h"
#include "core/plan/tables.h"

namespace dcnn {

// A map that groups of a block read: the index of the block's source, its origin on the lattice, and its extents.
struct SourceMap {
  int64_t source, row, col, height, width;
};

// The maps of a block that `next` reads, the following block or null. source is kNone for phases that are not stored as a
// whole.
std::vector<SourceMap> maps_of(const Level& level, const Level* next);

// Adds the regions of a block's groups to its tables. sources: the maps that they read. maps, next: as for `maps_of`.
void add_shared(size_t block, const Axis& axis, const Windows& windows, const Level& level, const std::vector<SourceMap>& sources,
                const std::vector<SourceMap>& maps, const Level* next, BlockTables* tables);

}  // namespace dcnn
