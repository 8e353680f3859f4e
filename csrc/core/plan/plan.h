// Plans (docs/design.md#data-flow): for the windows of one column on one plane, the regions that every block computes.
//
// For every block, windows whose offsets agree modulo the convolution's cumulative stride form groups (cluster.h, level.h). A group's
// shared results are one region over all its windows, or where groups overlap several regions that do not (overlap.h), with a piece
// for each pool phase that a window needs. Each phase of a group is a map that the next block's groups read; pieces are stored there
// and, in parts, in the windows' own images (shared.h), where their rims are put too (rim.h): there the next block's rims, or its
// regions for windows by themselves, read them.
//
// To be read in this order: range.h, column.h, axis.h, window.h, cost.h, cluster.h, level.h, overlap.h, shared.h, rim.h, plan.cpp.
// Nothing here keeps memory or a lock from one call to the next.
#pragma once

#include <vector>

#include "core/plan/column.h"
#include "core/plan/tables.h"
#include "core/plan/window.h"

namespace dcnn {

// Rows and columns of the image that windows are cut from.
struct PlaneShape {
  int64_t rows, cols;
};

// macs_per_byte: multiply-adds that a backend does in the time it moves one byte. always: all is shared that can be, whether or not
// it pays, for tests.
struct PlanOptions {
  double macs_per_byte;
  bool always;
};

// shares: whether any windows share anything; otherwise it is brute force, one region a window. window_of: which image of the last
// block's output 0 each window is: equal windows share one. blocks: block 1 reads the plane, each later one the outputs of the one
// before.
struct Plan {
  bool shares;
  std::vector<int64_t> window_of;
  ColumnRegions blocks;
};

// A plan that costs less than brute force by BlockCost, block by block, or as much where nothing is gained by sharing. Throws
// std::invalid_argument naming what is out of range.
Plan plan_of(const ColumnShape& column, const std::vector<Window>& windows, const PlaneShape& plane, const PlanOptions& options);

}  // namespace dcnn
