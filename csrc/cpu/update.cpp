#include "update.h"

#include "kernel.h"

namespace dcnn {
namespace {

// Limit: memory. Weights and increments are read and written, gradients read; the smallest vectors suffice for that, so one
// kernel serves all instruction sets.
template <typename Float>
void in_floats(const UpdateRow& row, int64_t first, int64_t last) {
  auto* __restrict weight = static_cast<Float*>(row.weight);
  auto* __restrict increment = static_cast<Float*>(row.increment);
  const auto* __restrict gradient = static_cast<const Float*>(row.gradient);
  const auto rate = static_cast<Float>(row.rate), momentum = static_cast<Float>(row.momentum), pull = static_cast<Float>(row.pull);
  for (int64_t i = first; i < last; ++i) {
    const Float step = momentum * increment[i] - rate * gradient[i] - pull * weight[i];
    increment[i] = step;
    weight[i] += step;
  }
}

void in_bf16(const UpdateRow& row, int64_t first, int64_t last) {
  auto* weight = static_cast<uint16_t*>(row.weight);
  auto* increment = static_cast<float*>(row.increment);
  const auto* gradient = static_cast<const uint16_t*>(row.gradient);
  const auto rate = static_cast<float>(row.rate), momentum = static_cast<float>(row.momentum), pull = static_cast<float>(row.pull);
  for (int64_t i = first; i < last; ++i) {
    const float before = from_bf16(weight[i]);
    const float step = momentum * increment[i] - rate * from_bf16(gradient[i]) - pull * before;
    increment[i] = step;
    weight[i] = to_bf16(before + step);
  }
}

}  // namespace

void update_values(UpdateKind kind, const UpdateRow& row, int64_t first, int64_t last) {
  switch (kind) {
    case UpdateKind::float32: return in_floats<float>(row, first, last);
    case UpdateKind::float64: return in_floats<double>(row, first, last);
    case UpdateKind::bf16_float32: return in_bf16(row, first, last);
  }
}

}  // namespace dcnn
