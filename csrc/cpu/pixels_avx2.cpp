// The copies of core/pixels.h for AVX2. Compiled with that flag, so nothing here may be an inline function that other files share.
#include "pixels_avx2.h"

#include <immintrin.h>

namespace dcnn {
namespace {

constexpr int64_t kSide = 4;      // of a square of pixels that is turned in registers
constexpr int64_t kLoaded = 16;   // bytes that are loaded for the 12 of four pixels
constexpr int64_t kPixel = 3;     // bytes

// Four pixels in 12 bytes as one number each, the fourth byte nothing.
__m128i numbers_at(const uint8_t* pixels) {
  const __m128i order = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
  return _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(pixels)), order);
}

void put(__m128i numbers, uint8_t* to) {
  const __m128i order = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
  const __m128i bytes = _mm_shuffle_epi8(numbers, order);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(to), bytes);
  const int last = _mm_extract_epi32(bytes, 2);
  __builtin_memcpy(to + 8, &last, sizeof last);
}

// Four pixels of each of four runs; of what is read, the runs lie beside each other.
void turn(const uint8_t* pixel, int64_t step, uint8_t* out, int64_t out_to_run) {
  const __m128i a = numbers_at(pixel), b = numbers_at(pixel + step), c = numbers_at(pixel + 2 * step), d = numbers_at(pixel + 3 * step);
  const __m128i ab = _mm_unpacklo_epi32(a, b), cd = _mm_unpacklo_epi32(c, d);
  const __m128i ab_last = _mm_unpackhi_epi32(a, b), cd_last = _mm_unpackhi_epi32(c, d);
  put(_mm_unpacklo_epi64(ab, cd), out);
  put(_mm_unpackhi_epi64(ab, cd), out + out_to_run);
  put(_mm_unpacklo_epi64(ab_last, cd_last), out + 2 * out_to_run);
  put(_mm_unpackhi_epi64(ab_last, cd_last), out + 3 * out_to_run);
}

void copy_runs(const PixelRuns& runs) {
  // Squares are of runs that are read beside each other, and not so far to the right that a load leaves the line.
  const int64_t squares = runs.pixel_to_run == kPixel ? (kPixel * runs.count - (kLoaded - kSide * kPixel)) / (kSide * kPixel) : 0;
  const int64_t wide = squares > 0 ? kSide * squares : 0, long_part = runs.length / kSide * kSide;
  for (int64_t run = 0; run < wide; run += kSide) {
    const uint8_t* pixel = runs.pixel + run * kPixel;
    uint8_t* out = runs.out + run * runs.out_to_run;
    for (int64_t i = 0; i < long_part; i += kSide) {
      turn(pixel + i * runs.pixel_to_pixel, runs.pixel_to_pixel, out + i * kPixel, runs.out_to_run);
    }
  }
  PixelRuns below = runs, beside = runs;
  below.pixel += long_part * runs.pixel_to_pixel;
  below.out += long_part * kPixel;
  below.length -= long_part;
  below.count = wide;
  beside.pixel += wide * runs.pixel_to_run;
  beside.out += wide * runs.out_to_run;
  beside.count -= wide;
  kPlainCopyRuns(below);
  kPlainCopyRuns(beside);
}

}  // namespace

const CopyRuns kAvx2CopyRuns = copy_runs;

}  // namespace dcnn
