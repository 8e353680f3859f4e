#include "capi/layer.h"

#include <utility>

#include "run.h"

namespace dcnn {

std::vector<float> Layer::of(const Isa& isa, const std::vector<float>& rows, bool relu, int threads) const {
  const auto count = static_cast<int64_t>(rows.size()) / inputs();
  std::vector<float> results(static_cast<size_t>(count * outputs()));
  run_linear(isa, {rows.data(), weight.data(), bias.data(), results.data(), count, inputs(), outputs(), relu, false, nullptr}, threads);
  return results;
}

std::vector<float> taken(WeightsByName& weights, const std::string& name) {
  auto node = weights.extract(name);
  return std::move(node.mapped());
}

Layer layer_named(WeightsByName& weights, const std::string& name) {
  return {taken(weights, name + ".weight"), taken(weights, name + ".bias")};
}

}  // namespace dcnn
