// Kernels for AVX2 with FMA. Compiled with those flags, so nothing here may be an inline function that other files share:
// no standard library templates, everything in an unnamed namespace.

#include <immintrin.h>

#include "cpu_features.h"

namespace dcnn {
namespace {

constexpr int kPositions = 6;
constexpr int kOutputs = 3;  // of a matrix product's tile

struct Vec {
  static constexpr int width = 8;
  __m256 v;

  static Vec zero() { return {_mm256_setzero_ps()}; }
  static Vec broadcast(float x) { return {_mm256_set1_ps(x)}; }
  static Vec load(const float* from) { return {_mm256_loadu_ps(from)}; }
  void store(float* to) const { _mm256_storeu_ps(to, v); }
  static Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
  static Vec add(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
  static Vec relu(Vec a) { return {_mm256_max_ps(_mm256_setzero_ps(), a.v)}; }  // the second operand when one is a NaN
};

}  // namespace
}  // namespace dcnn

#include "block_impl.h"
#include "linear_impl.h"
#include "peak_impl.h"

namespace dcnn {

const Isa& avx2_isa() {
  static const Isa isa{"avx2",     [] { return features().avx2 && features().fma; }, kBlock, false, region_scratch,
                       run_region, linear_scratch, run_linear, run_peak};
  return isa;
}

}  // namespace dcnn
