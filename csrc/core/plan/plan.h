// Plans (docs/design.md#data-flow): for the windows of one column on one plane, the regions that every block computes.
//
// In every block, windows whose offsets agree modulo the convolution's cumulative stride form groups (cluster.h, level.h). A
// group's shared results are one region over all its windows or, where groups overlap, several disjoint regions (overlap.h),
// with a piece for each pool phase that a window needs. Each phase of a group is a map that the next block's groups read.
// Pieces are stored there and, in parts, in the windows' own images (shared.h), together with the rims (rim.h); the next
// block's rims, or its regions for windows that do not share, read them there.
//
// Reading order: range.h, column.h, axis.h, window.h, cost.h, cluster.h, level.h, overlap.h, shared.h, rim.h, plan.cpp. Nothing
// here keeps memory or a lock between calls.
#pragma once

#include <vector>

#include "core/plan/column.h"
#include "core/plan/tables.h"
#include "core/plan/window.h"

namespace dcnn {

// Rows and columns of the plane.
struct PlaneShape {
  int64_t rows, cols;
};

// macs_per_byte: multiply-adds that a backend does in the time it moves one byte. always: share wherever possible, whether or
// not it pays, for tests.
struct PlanOptions {
  double macs_per_byte;
  bool always;
};

// shares: whether any windows share anything; otherwise the plan is brute force, one region a window. window_of: each window's
// image in the last block's output 0; equal windows have one image. blocks: block 1 reads the plane, each later one the
// previous block's outputs.
struct Plan {
  bool shares;
  std::vector<int64_t> window_of;
  ColumnRegions blocks;
};

// A plan that costs at most as much as brute force by BlockCost, in every block. Throws std::invalid_argument naming the value
// out of range.
Plan plan_of(const ColumnShape& column, const std::vector<Window>& windows, const PlaneShape& plane, const PlanOptions& options);

}  // namespace dcnn
