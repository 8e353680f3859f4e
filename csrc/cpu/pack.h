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

// A caller's weights, read during the call and not kept: [filters, channels / groups, size, size], contiguous, or where
// channels_last [filters, size, size, channels / groups]. bias may be null.
struct Weights {
  const float* weight;
  const float* bias;
  bool channels_last;
};

// The weights packed for the problem's kernel. The last ones are kept, so that an image after another does not pack them anew;
// values are compared, not addresses: whoever changes a weight, however, gets what it is now.
std::shared_ptr<const Packed> packed_weights(const Isa& isa, const BlockProblem& p, const Weights& weights);

// Around a fork, so that the child does not find the lock of what is kept taken by a thread that it does not have.
void lock_packed_weights();
void unlock_packed_weights();

}  // namespace dcnn
