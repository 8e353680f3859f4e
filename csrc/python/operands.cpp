#include "operands.h"

#include <stdexcept>

#include "arrays.h"

namespace py = pybind11;

namespace dcnn {

Weights weights_of(const BlockSpec& b, const py::array& weight, const std::optional<py::array>& bias, const std::string& name) {
  require_values<float>(name + "weight", weight, "float32");
  require_shape(name + "weight", weight, {b.filters, b.channels / b.groups, b.size, b.size});
  const bool last = !contiguous(weight);
  if (last && !channels_last(weight)) refuse(name + "weight", "contiguous or in channels_last memory", "other strides");
  if (bias) {
    require_values<float>(name + "bias", *bias, "float32");
    require_shape(name + "bias", *bias, {b.filters});
    if (!contiguous(*bias)) refuse(name + "bias", "contiguous", "other strides");
  }
  return {static_cast<const float*>(weight.data()), bias ? static_cast<const float*>(bias->data()) : nullptr, last};
}

Source source_of(const std::string& name, const py::array& array, const ImagesShape& shape, int64_t channels) {
  const bool bytes = holds<uint8_t>(array);
  if (!bytes) require_values<float>(name, array, "uint8 or float32");
  require_shape(name, array, {shape.images, channels, shape.rows, shape.cols});
  const int64_t size = array.itemsize();
  return {array.data(), bytes, array.strides(1) / size, array.strides(2) / size, array.strides(3) / size, array.strides(0) / size};
}

void require_precision(const Isa& isa, const BlockSpec& block) {
  if (block.precision != Precision::bf16x3 || isa.bf16 == Bf16::tiles) return;
  throw std::invalid_argument(std::string(isa.name) + " has no tile unit for bf16x3");
}

BlockSpec with_mean(BlockSpec block) {
  block.mean.resize(static_cast<size_t>(block.channels));
  return block;
}

}  // namespace dcnn
