// Building blocks of resampling and turning with AVX2; each file compiled for AVX2 has its own copy.
#pragma once

#include <immintrin.h>

#include "core/pixels.h"
#include "core/resample.h"

namespace dcnn {
namespace {

constexpr int64_t kSide = 4;     // of a square of pixels turned in registers
constexpr int64_t kLoaded = 16;  // bytes loaded for the 12 of four pixels

// The widest multiplication takes pairs of 16-bit numbers and adds the two products. A weight has up to 23 bits, so its low 15
// bits and the bits above are multiplied separately, and the two sums are combined at the end: all of this is exact.
inline __m256i halves_sum(__m256i low, __m256i high) { return _mm256_add_epi32(low, _mm256_slli_epi32(high, 15)); }

// Four pixels as pairs of 16-bit numbers: red, green, blue and zero of the first two in one half, of the last two in the other.
inline __m256i pairs_of(const uint8_t* pixels) {
  const __m256i order =
      _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1, 6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(pixels))), order);
}

// A quad's weights in the order of `pairs_of`: the low bits, and those above.
struct QuadWeights {
  __m256i fine, coarse;
};

inline QuadWeights weights_at(const int16_t* halves) {
  const __m256i first = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1), second = _mm256_setr_epi32(2, 2, 2, 2, 3, 3, 3, 3);
  const __m256i weights = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(halves)));
  return {_mm256_permutevar8x32_epi32(weights, first), _mm256_permutevar8x32_epi32(weights, second)};
}

// An output's red, green, blue and zero as 32-bit numbers, from its sums over even and odd pairs of pixels.
inline __m128i levels_of(__m256i low, __m256i high) {
  const __m256i sum = halves_sum(low, high);
  const __m128i both = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
  return _mm_srli_epi32(_mm_add_epi32(both, _mm_set1_epi32(1 << (kFilterFraction - 1))), kFilterFraction);
}

inline void put_pixel(uint8_t* to, int pixel) { __builtin_memcpy(to, &pixel, 3); }

// One output of one row, in the three low bytes.
inline int resampled_pixel(const uint8_t* line, const FilterRow& place, const int16_t* halves) {
  __m256i low = _mm256_setzero_si256(), high = low;
  for (int64_t quad = 0; quad < place.quads; ++quad) {
    const QuadWeights weights = weights_at(halves + 8 * (place.weights + quad));
    const __m256i pixels = pairs_of(line + 3 * (place.first + 4 * quad));
    low = _mm256_add_epi32(low, _mm256_madd_epi16(pixels, weights.fine));
    high = _mm256_add_epi32(high, _mm256_madd_epi16(pixels, weights.coarse));
  }
  const __m128i levels = levels_of(low, high);
  return _mm_cvtsi128_si32(_mm_packus_epi16(_mm_packs_epi32(levels, levels), levels));
}

// The number of leading outputs that never read past the end of a row.
inline int64_t outputs_within(const PassFilter& filter, int64_t cols) {
  int64_t count = 0;
  while (count < filter.count) {
    const FilterRow& place = filter.entries[count];
    if (place.quads > 0 && 3 * (place.first + 4 * (int64_t{place.quads} - 1)) + kLoaded > 3 * cols) break;
    ++count;
  }
  return count;
}

// Four pixels of 12 bytes as one number each, whose fourth byte is zero.
inline __m128i numbers_at(const uint8_t* pixels) {
  const __m128i order = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
  return _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(pixels)), order);
}

// Four numbers as 12 contiguous bytes, then zeros.
inline __m128i packed_numbers(__m128i numbers) {
  const __m128i order = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
  return _mm_shuffle_epi8(numbers, order);
}

// Four runs of four pixels, transposed: source pixels of different runs are adjacent, those of one run `step` bytes apart.
struct Square {
  __m128i runs[kSide];
};

inline Square turned_square(const uint8_t* pixel, int64_t step) {
  const __m128i a = numbers_at(pixel), b = numbers_at(pixel + step), c = numbers_at(pixel + 2 * step), d = numbers_at(pixel + 3 * step);
  const __m128i ab = _mm_unpacklo_epi32(a, b), cd = _mm_unpacklo_epi32(c, d);
  const __m128i ab_last = _mm_unpackhi_epi32(a, b), cd_last = _mm_unpackhi_epi32(c, d);
  return {{packed_numbers(_mm_unpacklo_epi64(ab, cd)), packed_numbers(_mm_unpackhi_epi64(ab, cd)),
           packed_numbers(_mm_unpacklo_epi64(ab_last, cd_last)), packed_numbers(_mm_unpackhi_epi64(ab_last, cd_last))}};
}

// Writes a square, 12 bytes per run, runs `apart` bytes from each other.
inline void turn_square(const uint8_t* pixel, int64_t step, uint8_t* out, int64_t apart) {
  const Square square = turned_square(pixel, step);
  for (int64_t run = 0; run < kSide; ++run) {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out + run * apart), square.runs[run]);
    const int last = _mm_extract_epi32(square.runs[run], 2);
    __builtin_memcpy(out + run * apart + 8, &last, sizeof last);
  }
}

// The number of runs, a multiple of kSide, that can be turned in squares: adjacent in the source, and far enough from the
// line's end for whole loads.
inline int64_t runs_in_squares(const PixelRuns& runs) {
  const int64_t loadable = 3 * (runs.count + runs.beyond) - (kLoaded - 3 * kSide), most = runs.count / kSide;
  if (runs.pixel_to_run != 3 || loadable < 0) return 0;
  const int64_t squares = loadable / (3 * kSide);
  return kSide * (squares < most ? squares : most);
}

// Copies everything outside the first `wide` runs' first `length` pixels.
inline void copy_beside_squares(const PixelRuns& runs, int64_t wide, int64_t length) {
  PixelRuns below = runs, beside = runs;
  below.pixel += length * runs.pixel_to_pixel;
  below.out += length * 3;
  below.length -= length;
  below.count = wide;
  beside.pixel += wide * runs.pixel_to_run;
  beside.out += wide * runs.out_to_run;
  beside.count -= wide;
  kPlainCopyRuns.copy(below);
  kPlainCopyRuns.copy(beside);
}

}  // namespace
}  // namespace dcnn
