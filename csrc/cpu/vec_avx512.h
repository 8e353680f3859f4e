// The vector of the AVX-512 files, with products of bfloat16 pairs where the including file defines DCNN_BF16_PAIRS, and the
// sizes of their tiles. In an unnamed namespace, as each file compiles its copy with its own flags.

#include <immintrin.h>
#include <stdint.h>

namespace dcnn {
namespace {

constexpr int kPositions = 12;  // with two vectors of filters: 24 accumulators of 32 registers
constexpr int kOutputs = 6;  // per tile of a matrix product

struct Vec {
  static constexpr int width = 16;
  __m512 v;

  static Vec zero() { return {_mm512_setzero_ps()}; }
  static Vec broadcast(float x) { return {_mm512_set1_ps(x)}; }
  static Vec load(const float* from) { return {_mm512_loadu_ps(from)}; }
  void store(float* to) const { _mm512_storeu_ps(to, v); }
  static Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  static Vec add(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
  static Vec sub(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
  static Vec mul(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
  static Vec div(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
  static Vec sqrt(Vec a) { return {_mm512_sqrt_ps(a.v)}; }
  static Vec larger(Vec a, Vec b) {  // a NaN wins, as in torch
    return {_mm512_mask_mov_ps(_mm512_max_ps(b.v, a.v), _mm512_cmp_ps_mask(b.v, b.v, _CMP_UNORD_Q), b.v)};
  }
  static Vec relu(Vec a) { return {_mm512_max_ps(_mm512_setzero_ps(), a.v)}; }  // the second operand where one is NaN
  static Vec smaller(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }  // the second operand where one is NaN
  // Loads only the first `count` values; the others are zero.
  static Vec load_first(const float* from, int64_t count) { return {_mm512_maskz_loadu_ps(first(count), from)}; }
  void store_first(float* to, int64_t count) const { _mm512_mask_storeu_ps(to, first(count), v); }
  static __mmask16 first(int64_t count) { return static_cast<__mmask16>((1u << count) - 1u); }
#ifdef DCNN_BF16_PAIRS
  static Vec broadcast_bits(uint32_t bits) { return {_mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(bits)))}; }
  void store_bf16(uint16_t* to) const { _mm256_storeu_si256((__m256i*)to, (__m256i)_mm512_cvtneps_pbh(v)); }
  // Sixteen sums of two bfloat16 products each.
  static Vec dot(Vec a, Vec b, Vec c) { return {_mm512_dpbf16_ps(c.v, (__m512bh)a.v, (__m512bh)b.v)}; }
#endif
#ifdef DCNN_TILES
  // Rounds like to_bf16, without AVX-512-BF16's instruction: software tiles are for processors without it.
  void store_bf16(uint16_t* to) const {
    const __m512i bits = _mm512_castps_si512(v), upper = _mm512_srli_epi32(bits, 16);
    const __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
    const __m512i nearest = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    const __m512i found = _mm512_mask_or_epi32(_mm512_srli_epi32(nearest, 16), _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), upper,
                                               _mm512_set1_epi32(0x40));
    _mm256_storeu_si256((__m256i*)to, _mm512_cvtepi32_epi16(found));
  }
#endif
};

}  // namespace
}  // namespace dcnn
