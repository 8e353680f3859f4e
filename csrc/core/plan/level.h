// Which windows share what, block by block: groups of windows of one class, and the groups' pool phases.
//
// Places are those of the lattices that all windows of the plane share. Each phase of a group is a map that the next block's groups
// may read; the plane is the one map of block 1.
#pragma once

#include <vector>

#include "core/plan/cluster.h"

namespace dcnn {

constexpr int64_t kNone = -1;

// Windows, or a region, that compute the same convolution outputs of a map.
struct Group {
  int64_t map;                      // the number of the phase of the block before that it reads; 0 in block 1
  int64_t row_residue, col_residue;  // of its windows' places modulo the stride
  Rectangle outputs;                // the convolution outputs of the lattice that it computes
};

// One pool phase of a group, or of a region.
struct Phase {
  size_t group;
  int64_t row, col;   // the alignment of its pooling grid
  Rectangle results;  // results of the lattice; its map begins at the first
};

// What is shared in one block.
struct Level {
  std::vector<size_t> members;     // the windows that share, sorted by the phase of their group
  std::vector<int64_t> phase_of;   // of every window the number of that in `phases`, kNone for one by itself
  std::vector<Group> groups;       // those of one class follow one another
  std::vector<Phase> phases;
};

// Rectangles of parts of a window's results, down and across.
struct Parts {
  Part rows, cols;
};

// Of a window by itself all; of one that shares what lies around its shared results: above, below, left and right.
struct PartsList {
  const Parts *first, *last;
  const Parts* begin() const { return first; }
  const Parts* end() const { return last; }
};
PartsList parts_of(bool alone);

// Every block. always: all is shared that can be, whether or not it pays, for tests.
std::vector<Level> levels_of(const std::vector<BlockCost>& costs, const Windows& windows, bool always);

}  // namespace dcnn
