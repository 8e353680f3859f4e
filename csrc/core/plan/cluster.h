// Which windows of a class share: groups small enough to pay.
//
// A class is the windows that read the same map and whose places agree modulo the convolution's stride. A group is computed as one
// rectangle of convolution outputs, the smallest around what its windows need, so windows far apart are in different groups.
#pragma once

#include <vector>

#include "core/plan/cost.h"

namespace dcnn {

// A window of a class: the convolution outputs of the lattice that its shared results need, and what it saves by sharing them.
struct Candidate {
  size_t window;
  Rectangle outputs;
  double saved;
};

// Groups of at least two windows that cost less than the windows one by one, as numbers of `windows`, each in their order.
std::vector<std::vector<size_t>> groups_of(const std::vector<Candidate>& windows, const BlockCost& cost);

}  // namespace dcnn
