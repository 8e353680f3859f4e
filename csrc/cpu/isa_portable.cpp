// Kernels for any processor: vectors of four that the compiler lowers to available instructions; product and sum round
// separately.

#include <stddef.h>
#include <stdint.h>

namespace dcnn {
namespace {

constexpr int kPositions = 6;
constexpr int kOutputs = 3;  // per tile of a matrix product

struct Vec {
  static constexpr int width = 4;
  typedef float Lanes __attribute__((vector_size(16)));
  Lanes v;

  static Vec zero() { return {Lanes{0, 0, 0, 0}}; }
  static Vec broadcast(float x) { return {Lanes{x, x, x, x}}; }
  static Vec load(const float* from) {
    Vec result;
    __builtin_memcpy(&result.v, from, sizeof result.v);
    return result;
  }
  void store(float* to) const { __builtin_memcpy(to, &v, sizeof v); }
  static Vec fma(Vec a, Vec b, Vec c) { return {c.v + a.v * b.v}; }
  static Vec add(Vec a, Vec b) { return {a.v + b.v}; }
  static Vec sub(Vec a, Vec b) { return {a.v - b.v}; }
  static Vec mul(Vec a, Vec b) { return {a.v * b.v}; }
  static Vec div(Vec a, Vec b) { return {a.v / b.v}; }
  static Vec sqrt(Vec a) {
    return {Lanes{__builtin_sqrtf(a.v[0]), __builtin_sqrtf(a.v[1]), __builtin_sqrtf(a.v[2]), __builtin_sqrtf(a.v[3])}};
  }
  static Vec larger(Vec a, Vec b) {  // a NaN wins, as in torch
    return {(b.v > a.v) | (b.v != b.v) ? b.v : a.v};
  }
  static Vec relu(Vec a) {  // NaN stays NaN
    const Lanes nothing{0, 0, 0, 0};
    return {a.v < nothing ? nothing : a.v};
  }
  static Vec smaller(Vec a, Vec b) { return {a.v < b.v ? a.v : b.v}; }  // the second operand where one is NaN
  // Loads only the first `count` values; the others are zero.
  static Vec load_first(const float* from, int64_t count) {
    Vec result = zero();
    __builtin_memcpy(&result.v, from, static_cast<size_t>(count) * sizeof(float));
    return result;
  }
  void store_first(float* to, int64_t count) const { __builtin_memcpy(to, &v, static_cast<size_t>(count) * sizeof(float)); }
};

}  // namespace
}  // namespace dcnn

#include "block_impl.h"
#include "backward_impl.h"
#include "linear_impl.h"
#include "mbconv_impl.h"
#include "peak_impl.h"

namespace dcnn {

const Isa& portable_isa() {
  static const Isa isa{"portable", []() -> const char* { return nullptr; },
                       kBlock, kBf16, region_scratch, run_region, gradients, mbconv, linear_scratch, run_linear, run_peak};
  return isa;
}

}  // namespace dcnn
