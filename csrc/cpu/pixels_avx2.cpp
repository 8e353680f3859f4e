// The copies of core/pixels.h for AVX2. Compiled with that flag, so nothing here may be an inline function that other files share.
#include "pixels_avx2.h"

#include <immintrin.h>

namespace dcnn {
namespace {

constexpr int64_t kSide = 4;      // of a square of pixels that is turned in registers
constexpr int64_t kLoaded = 16;   // bytes that are loaded for the 12 of four pixels
constexpr int64_t kPixel = 3;     // bytes
constexpr int64_t kMost = 512;    // pixels of a run that are turned at once
constexpr int64_t kRuns = 16;     // that are turned side by side
constexpr int64_t kPitch = kPixel * kMost + kLoaded;  // of these, in bytes: room for the whole registers that are stored

// Four pixels in 12 bytes as one number each, the fourth byte nothing.
__m128i numbers_at(const uint8_t* pixels) {
  const __m128i order = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
  return _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(pixels)), order);
}

// Stores four bytes more than the pixels have.
void put(__m128i numbers, uint8_t* to) {
  const __m128i order = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_shuffle_epi8(numbers, order));
}

// Four pixels of each of four runs, which lie kPitch apart; of what is read, they lie beside each other.
void turn(const uint8_t* pixel, int64_t step, uint8_t* out) {
  const __m128i a = numbers_at(pixel), b = numbers_at(pixel + step), c = numbers_at(pixel + 2 * step), d = numbers_at(pixel + 3 * step);
  const __m128i ab = _mm_unpacklo_epi32(a, b), cd = _mm_unpacklo_epi32(c, d);
  const __m128i ab_last = _mm_unpackhi_epi32(a, b), cd_last = _mm_unpackhi_epi32(c, d);
  put(_mm_unpacklo_epi64(ab, cd), out);
  put(_mm_unpackhi_epi64(ab, cd), out + kPitch);
  put(_mm_unpacklo_epi64(ab_last, cd_last), out + 2 * kPitch);
  put(_mm_unpackhi_epi64(ab_last, cd_last), out + 3 * kPitch);
}

// `count` runs, a multiple of kSide and at most kRuns, of `length` pixels, a multiple of kSide and at most kMost. They are turned beside
// each other in a small place and written from there, each at once: lines that are written in parts far from each other are slow.
void turn_runs(const PixelRuns& runs, int64_t first, int64_t count, int64_t length) {
  alignas(64) uint8_t turned[kRuns * kPitch];
  const uint8_t* pixel = runs.pixel + first * kPixel;
  for (int64_t run = 0; run < count; run += kSide) {
    for (int64_t i = 0; i < length; i += kSide) {
      turn(pixel + run * kPixel + i * runs.pixel_to_pixel, runs.pixel_to_pixel, turned + run * kPitch + i * kPixel);
    }
  }
  uint8_t* out = runs.out + first * runs.out_to_run;
  for (int64_t run = 0; run < count; ++run) {
    __builtin_memcpy(out + run * runs.out_to_run, turned + run * kPitch, static_cast<size_t>(kPixel * length));
  }
}

// At most kMost pixels of each run are turned; as many are asked for where a photograph is.
void copy_runs(const PixelRuns& runs) {
  // Squares are of runs that are read beside each other, and not so far to the right that a load leaves the line.
  const int64_t squares = runs.pixel_to_run == kPixel ? (kPixel * runs.count - (kLoaded - kSide * kPixel)) / (kSide * kPixel) : 0;
  const int64_t wide = squares > 0 ? kSide * squares : 0, long_part = (runs.length < kMost ? runs.length : kMost) / kSide * kSide;
  for (int64_t run = 0; run < wide; run += kRuns) {
    turn_runs(runs, run, wide - run < kRuns ? wide - run : kRuns, long_part);
  }
  PixelRuns below = runs, beside = runs;
  below.pixel += long_part * runs.pixel_to_pixel;
  below.out += long_part * kPixel;
  below.length -= long_part;
  below.count = wide;
  beside.pixel += wide * runs.pixel_to_run;
  beside.out += wide * runs.out_to_run;
  beside.count -= wide;
  kPlainCopyRuns.copy(below);
  kPlainCopyRuns.copy(beside);
}

}  // namespace

const CopyRuns kAvx2CopyRuns{copy_runs, kMost};

}  // namespace dcnn
