// The copies of core/pixels.h for AVX2. Compiled with that flag, so nothing here may be an inline function shared with other
// files.
#include "pixels_avx2.h"

#include <immintrin.h>

#include "pixel_steps_avx2.h"

namespace dcnn {
namespace {

constexpr int64_t kPixel = 3;     // bytes
constexpr int64_t kMost = 512;    // pixels of a run turned at once
constexpr int64_t kRuns = 16;     // turned side by side
constexpr int64_t kPitch = kPixel * kMost + kLoaded;  // between these, in bytes: room for stores of whole registers

// Stores four bytes more than the pixels have.
void put(__m128i pixels, uint8_t* to) { _mm_storeu_si128(reinterpret_cast<__m128i*>(to), pixels); }

// Turns four pixels of each of four runs, adjacent in the source, kPitch apart in `out`.
void turn(const uint8_t* pixel, int64_t step, uint8_t* out) {
  const Square square = turned_square(pixel, step);
  for (int64_t run = 0; run < kSide; ++run) put(square.runs[run], out + run * kPitch);
}

// Turns `count` runs, a multiple of kSide and at most kRuns, of `length` pixels, a multiple of kSide and at most kMost. They
// are turned in a small buffer and each written from there at once: alternating partial writes to distant lines are slow.
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

// Turns at most kMost pixels of each run in squares; turning a photograph asks for that many.
void copy_runs(const PixelRuns& runs) {
  const int64_t wide = runs_in_squares(runs), long_part = (runs.length < kMost ? runs.length : kMost) / kSide * kSide;
  for (int64_t run = 0; run < wide; run += kRuns) {
    turn_runs(runs, run, wide - run < kRuns ? wide - run : kRuns, long_part);
  }
  copy_beside_squares(runs, wide, long_part);
}

}  // namespace

const CopyRuns kAvx2CopyRuns{copy_runs, kMost};

}  // namespace dcnn
