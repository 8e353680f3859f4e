// Kernels for AVX-512 in fp32. Compiled with those flags, so nothing here may be an inline function that other files share:
// no standard library templates, everything in an unnamed namespace.

#include <immintrin.h>

#include "cpu_features.h"

namespace dcnn {
namespace {

constexpr int kPositions = 12;  // with two vectors of filters: 24 accumulators of 32 registers
constexpr int kOutputs = 6;  // of a matrix product's tile

struct Vec {
  static constexpr int width = 16;
  __m512 v;

  static Vec zero() { return {_mm512_setzero_ps()}; }
  static Vec broadcast(float x) { return {_mm512_set1_ps(x)}; }
  static Vec load(const float* from) { return {_mm512_loadu_ps(from)}; }
  void store(float* to) const { _mm512_storeu_ps(to, v); }
  static Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  static Vec add(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
  static Vec mul(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
  static Vec div(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
  static Vec sqrt(Vec a) { return {_mm512_sqrt_ps(a.v)}; }
  static Vec larger(Vec a, Vec b) {  // a NaN wins, as in torch
    return {_mm512_mask_mov_ps(_mm512_max_ps(b.v, a.v), _mm512_cmp_ps_mask(b.v, b.v, _CMP_UNORD_Q), b.v)};
  }
  static Vec relu(Vec a) { return {_mm512_max_ps(_mm512_setzero_ps(), a.v)}; }  // the second operand when one is a NaN
};

}  // namespace
}  // namespace dcnn

#include "block_impl.h"
#include "linear_impl.h"
#include "peak_impl.h"

namespace dcnn {

const Isa& avx512_isa() {
  static const Isa isa{"avx512",   [] { return features().avx512f; }, kBlock, false, region_scratch,
                       run_region, linear_scratch, run_linear, run_peak};
  return isa;
}

}  // namespace dcnn
