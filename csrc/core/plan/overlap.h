// Groups of one class whose rectangles overlap, cut into regions that do not: no block output is computed twice.
//
// Rectangles are cut where results start. A region computes the convolution outputs that its results look at, so that two that touch
// both compute the few outputs across which a pool window reaches. A result that several groups want is a piece of one region,
// stored in each group's map.
#pragma once

#include <vector>

#include "core/plan/level.h"

namespace dcnn {

// One pool phase of a region, and the phases of groups that want some of its results, in their order.
struct SharedPiece {
  Phase phase;  // `group` is the region's number
  std::vector<size_t> wanted_by;
};

// What is computed for groups: regions, and their pieces, one region's after another's.
struct SharedRegions {
  std::vector<Group> regions;
  std::vector<SharedPiece> pieces;
};

// Regions with all results of the level's groups, none of them in two.
SharedRegions regions_apart(const Axis& axis, const Level& level);

}  // namespace dcnn
