// Groups of one class whose rectangles overlap, cut into disjoint regions: no block output is computed twice.
//
// Rectangles are cut where results start. A region computes the convolution outputs that its results need, so two adjacent
// regions both compute the few outputs that a pool window across the cut needs. A result needed by several groups belongs to a
// piece of one region and is stored in each group's map.
#pragma once

#include <vector>

#include "core/plan/level.h"

namespace dcnn {

// One pool phase of a region, and the groups' phases that need some of its results, in order.
struct SharedPiece {
  Phase phase;  // `group` is the region's index
  std::vector<size_t> wanted_by;
};

// The work for groups: regions, and their pieces in the regions' order.
struct SharedRegions {
  std::vector<Group> regions;
  std::vector<SharedPiece> pieces;
};

// Regions that cover all results of the level's groups, each result once.
SharedRegions regions_apart(const Axis& axis, const Level& level);

}  // namespace dcnn
