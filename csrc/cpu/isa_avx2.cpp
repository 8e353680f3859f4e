// Kernels for AVX2 with FMA. Compiled with those flags, so nothing here may be an inline function shared with other files: no
// standard library templates, everything in an unnamed namespace.

#include <immintrin.h>

#include "cpu_features.h"

namespace dcnn {
namespace {

constexpr int kPositions = 6;
constexpr int kOutputs = 3;  // per tile of a matrix product

struct Vec {
  static constexpr int width = 8;
  __m256 v;

  static Vec zero() { return {_mm256_setzero_ps()}; }
  static Vec broadcast(float x) { return {_mm256_set1_ps(x)}; }
  static Vec load(const float* from) { return {_mm256_loadu_ps(from)}; }
  void store(float* to) const { _mm256_storeu_ps(to, v); }
  static Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
  static Vec add(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
  static Vec sub(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
  static Vec mul(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
  static Vec div(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }
  static Vec sqrt(Vec a) { return {_mm256_sqrt_ps(a.v)}; }
  static Vec larger(Vec a, Vec b) {  // a NaN wins, as in torch
    return {_mm256_blendv_ps(_mm256_max_ps(b.v, a.v), b.v, _mm256_cmp_ps(b.v, b.v, _CMP_UNORD_Q))};
  }
  static Vec relu(Vec a) { return {_mm256_max_ps(_mm256_setzero_ps(), a.v)}; }  // the second operand where one is NaN
  static Vec smaller(Vec a, Vec b) { return {_mm256_min_ps(a.v, b.v)}; }  // the second operand where one is NaN
  // Loads only the first `count` values; the others are zero.
  static Vec load_first(const float* from, int64_t count) { return {_mm256_maskload_ps(from, first(count))}; }
  void store_first(float* to, int64_t count) const { _mm256_maskstore_ps(to, first(count), v); }
  static __m256i first(int64_t count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
};

}  // namespace
}  // namespace dcnn

#include "block_impl.h"
#include "backward_impl.h"
#include "linear_impl.h"
#include "mbconv_impl.h"
#include "peak_impl.h"

namespace dcnn {

const Isa& avx2_isa() {
  static const Isa isa{"avx2", [] { return features().avx2 && features().fma ? nullptr : "the processor has no AVX2 with FMA"; },
                       kBlock, kBf16, region_scratch, run_region, gradients, mbconv, linear_scratch, run_linear, run_peak};
  return isa;
}

}  // namespace dcnn
