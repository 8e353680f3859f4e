// cuda-convnet's update of parameters in one pass over their memory.
#pragma once

#include <cstdint>

namespace dcnn {

// The type of parameters and gradients, then that of increments and arithmetic where it differs.
enum class UpdateKind : int { float32 = 0, float64 = 1, bf16_float32 = 2 };

// One parameter: `count` values in each array, in the same order.
struct UpdateRow {
  void* weight;
  const void* gradient;
  void* increment;
  int64_t count;
  double rate, momentum, pull;  // pull: decay * rate
};

// Values [first, last): increment = momentum * increment - rate * gradient - pull * weight; weight = weight + increment.
void update_values(UpdateKind kind, const UpdateRow& row, int64_t first, int64_t last);

}  // namespace dcnn
