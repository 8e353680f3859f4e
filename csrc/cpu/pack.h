// Weights in the kernels' order.
#pragma once

#include <memory>
#include <vector>

#include "buffer.h"
#include "kernel.h"

namespace dcnn {

struct Packed {
  Buffer weight;
  Buffer bias;  // zeros without a bias; each group padded to whole blocks
};

// A caller's weights, read during the call and not kept: [filters, channels / groups, size, size], contiguous, or with
// channels_last [filters, size, size, channels / groups]. bias may be null.
struct Weights {
  const float* weight;
  const float* bias;
  bool channels_last;
};

// Packs the weights anew for the problem's kernel; the caller owns the result.
std::shared_ptr<const Packed> pack_weights(const Isa& isa, const BlockProblem& p, const Weights& weights);

// The same with a cache of recent weights, so that successive images do not pack them again. Lookup compares values, not
// addresses, so changed weights are always noticed.
std::shared_ptr<const Packed> packed_weights(const Isa& isa, const BlockProblem& p, const Weights& weights);

// The filters of the convolution of stride 1 from the gradient of a block's convolution outputs to that of its input
// (`GradientProblem::input`): pixel stride * i + residue, padding counted, meets taps residue, residue + stride, ... of the outputs
// i, i - 1, .... [groups * stride * stride * channels of a group, filters of a group, taps, taps], with zeros for taps that a
// residue lacks.
std::vector<float> input_filters(const BlockProblem& p, const Weights& weights);

// Called around a fork, so that the child never inherits the cache's lock from a thread it does not have.
void lock_packed_weights();
void unlock_packed_weights();

}  // namespace dcnn
