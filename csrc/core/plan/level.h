// Sharing decided block by block: groups of windows of one class, and the groups' pool phases.
//
// Places are those of the lattices that all windows of the plane share. Each phase of a group is a map that the next block's groups
// may read; the plane is the one map of block 1.
#pragma once

#include <vector>

#include "core/plan/cluster.h"

namespace dcnn {

constexpr int64_t kNone = -1;

// Windows that share, or a region, with its rectangle of convolution outputs of one map.
struct Group {
  int64_t map;                      // the index of the phase that it reads, of the previous block; 0 in block 1
  int64_t row_residue, col_residue;  // its windows' places modulo the stride
  Rectangle outputs;                // on the lattice
};

// One pool phase of a group, or of a region.
struct Phase {
  size_t group;
  int64_t row, col;   // the alignment of its pooling grid
  Rectangle results;  // on the lattice; its map begins at the first
};

// The sharing of one block.
struct Level {
  std::vector<size_t> members;     // the windows that share, sorted by their group's phase
  std::vector<int64_t> phase_of;   // each window's index in `phases`, kNone where it does not share
  std::vector<Group> groups;       // sorted by class
  std::vector<Phase> phases;
};

// A rectangle of a window's results, as a part along each axis.
struct Parts {
  Part rows, cols;
};

// The parts of a window: everything where it does not share; otherwise the rim above, below, left and right of its shared
// results.
struct PartsList {
  const Parts *first, *last;
  const Parts* begin() const { return first; }
  const Parts* end() const { return last; }
};
PartsList parts_of(bool alone);

// One level for each block. always: share wherever possible, whether or not it pays, for tests.
std::vector<Level> levels_of(const std::vector<BlockCost>& costs, const Windows& windows, bool always);

}  // namespace dcnn
