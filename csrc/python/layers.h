// Layers from Python: a weight and a bias.
#pragma once

#include <pybind11/numpy.h>

#include <string>
#include <utility>
#include <vector>

#include "arrays.h"
#include "cpu/mbconv.h"

namespace dcnn {

using Layer = std::pair<pybind11::array, pybind11::array>;  // weight and bias

// shape: the weight's, whose first extent is the bias'.
inline MbConvLayer layer_of(const std::string& name, const Layer& layer, const std::vector<int64_t>& shape) {
  const auto& [weight, bias] = layer;
  require_values<float>(name + " weight", weight, "float32");
  require_shape(name + " weight", weight, shape);
  require_values<float>(name + " bias", bias, "float32");
  require_shape(name + " bias", bias, {shape[0]});
  for (const pybind11::array* array : {&weight, &bias}) {
    if (!contiguous(*array)) refuse(name, "contiguous", "other strides");
  }
  return {static_cast<const float*>(weight.data()), static_cast<const float*>(bias.data())};
}

}  // namespace dcnn
