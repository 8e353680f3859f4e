// Weights in the order that the kernels read them.
#pragma once

#include <memory>

#include "buffer.h"
#include "kernel.h"

namespace dcnn {

struct Packed {
  Buffer weight;
  Buffer bias;  // zeros where there is none, each group padded to whole blocks
};

// Weights [filters, channels / groups, size, size], contiguous, and the bias, which may be null, packed for the problem's kernel.
// The last ones are kept, so that an image after another does not pack them anew; values are compared, not addresses.
std::shared_ptr<const Packed> packed_weights(const Isa& isa, const BlockProblem& p, const float* weight, const float* bias);

}  // namespace dcnn
