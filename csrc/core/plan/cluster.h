// Groups of windows that share, small enough to pay off.
//
// A class is the windows that read the same map and whose places agree modulo the convolution's stride. A group is computed as
// the smallest rectangle of convolution outputs that covers its windows' needs, so distant windows are in different groups.
#pragma once

#include <vector>

#include "core/plan/cost.h"

namespace dcnn {

// A window of a class: the convolution outputs of the lattice that its shared results need, and the cost saved by sharing them.
struct Candidate {
  size_t window;
  Rectangle outputs;
  double saved;
};

// Groups of at least two windows that together cost less than separately, as ascending indices into `windows`.
std::vector<std::vector<size_t>> groups_of(const std::vector<Candidate>& windows, const BlockCost& cost);

}  // namespace dcnn
