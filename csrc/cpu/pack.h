// Weights in the order that the kernels read them.
#pragma once

#include <memory>
#include <vector>

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

// The weights packed for the problem's kernel, anew: whoever asked owns them.
std::shared_ptr<const Packed> pack_weights(const Isa& isa, const BlockProblem& p, const Weights& weights);

// The same. The last ones are kept, so that an image after another does not pack them anew;
// values are compared, not addresses: whoever changes a weight, however, gets what it is now.
std::shared_ptr<const Packed> packed_weights(const Isa& isa, const BlockProblem& p, const Weights& weights);

// The filters that give the gradient of a block's input from that of its convolution's outputs, at stride 1 (`GradientProblem::input`):
// pixel stride * i + phase, padding counted, meets taps phase, phase + stride, ... of the outputs i, i - 1, .... [groups * stride *
// stride * channels of a group, filters of a group, taps, taps], zeros for the taps that a phase lacks.
std::vector<float> input_filters(const BlockProblem& p, const Weights& weights);

// Around a fork, so that the child does not find the lock of what is kept taken by a thread that it does not have.
void lock_packed_weights();
void unlock_packed_weights();

}  // namespace dcnn
