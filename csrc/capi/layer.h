// Fully-connected layers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "capi/model_file.h"
#include "kernel.h"

namespace dcnn {

// weight: [outputs, inputs]. bias: [outputs].
struct Layer {
  std::vector<float> weight, bias;

  int64_t outputs() const { return static_cast<int64_t>(bias.size()); }
  int64_t inputs() const { return static_cast<int64_t>(weight.size() / bias.size()); }

  // Maps rows of `inputs` numbers to rows of `outputs`.
  std::vector<float> of(const Isa& isa, const std::vector<float>& rows, bool relu, int threads) const;
};

// Removes the values named `name` from the weights and returns them.
std::vector<float> taken(WeightsByName& weights, const std::string& name);

// The layer with the weight and bias of that name.
Layer layer_named(WeightsByName& weights, const std::string& name);

}  // namespace dcnn
