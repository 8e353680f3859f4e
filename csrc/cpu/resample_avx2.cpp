// The passes of core/resample.h for AVX2. Compiled with that flag, so nothing here may be an inline function shared with other
// files: no standard library templates, everything in an unnamed namespace.
#include "resample_avx2.h"

#include <immintrin.h>

#include "pixel_steps_avx2.h"

namespace dcnn {
namespace {

constexpr int64_t kRows = 4;     // rows per step across: they share weights
constexpr int64_t kColumns = 32;  // bytes per step down

// One output of four rows.
void column(const uint8_t* const (&lines)[kRows], uint8_t* const (&out)[kRows], const FilterRow& place, const int16_t* halves) {
  __m256i low[kRows], high[kRows];
  for (int64_t row = 0; row < kRows; ++row) low[row] = high[row] = _mm256_setzero_si256();
  for (int64_t quad = 0; quad < place.quads; ++quad) {
    const QuadWeights weights = weights_at(halves + 8 * (place.weights + quad));
    for (int64_t row = 0; row < kRows; ++row) {
      const __m256i pixels = pairs_of(lines[row] + 3 * (place.first + 4 * quad));
      low[row] = _mm256_add_epi32(low[row], _mm256_madd_epi16(pixels, weights.fine));
      high[row] = _mm256_add_epi32(high[row], _mm256_madd_epi16(pixels, weights.coarse));
    }
  }
  const __m128i upper = _mm_packs_epi32(levels_of(low[0], high[0]), levels_of(low[1], high[1]));
  const __m128i lower = _mm_packs_epi32(levels_of(low[2], high[2]), levels_of(low[3], high[3]));
  const __m128i bytes = _mm_packus_epi16(upper, lower);
  put_pixel(out[0], _mm_cvtsi128_si32(bytes));
  put_pixel(out[1], _mm_extract_epi32(bytes, 1));
  put_pixel(out[2], _mm_extract_epi32(bytes, 2));
  put_pixel(out[3], _mm_extract_epi32(bytes, 3));
}

void across(const Picture& from, const PassFilter& filter, const Canvas& to) {
  const int64_t inside = outputs_within(filter, from.cols);
  for (int64_t y = 0; y < from.rows; y += kRows) {
    const uint8_t* lines[kRows];
    uint8_t* out[kRows];
    for (int64_t row = 0; row < kRows; ++row) {  // the last row replaces missing ones
      const int64_t at = y + row < from.rows ? y + row : from.rows - 1;
      lines[row] = from.bytes + at * from.pitch;
      out[row] = to.bytes + at * to.pitch;
    }
    for (int64_t x = 0; x < inside; ++x) {
      column(lines, out, filter.entries[x], filter.halves);
      for (int64_t row = 0; row < kRows; ++row) out[row] += 3;
    }
  }
  if (inside < filter.count) {
    const PassFilter rest{filter.entries + inside, filter.count - inside, filter.weights, filter.halves};
    kPlainPasses.across(from, rest, {to.bytes + 3 * inside, to.rows, rest.count, to.pitch});
  }
}

__m256i pair_at(const int16_t* halves) {
  int pair;
  __builtin_memcpy(&pair, halves, sizeof pair);
  return _mm256_set1_epi32(pair);
}

__m256i bytes_at(const uint8_t* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }

// 32 bytes of one output row, from `line` on in the filter's first row.
void stretch(const uint8_t* line, int64_t pitch, const FilterRow& place, const int16_t* halves, uint8_t* to) {
  const __m256i nothing = _mm256_setzero_si256();
  __m256i low[4], high[4];
  for (int part = 0; part < 4; ++part) {
    low[part] = _mm256_set1_epi32(1 << (kFilterFraction - 1));
    high[part] = nothing;
  }
  for (int64_t tap = 0; tap < place.taps; tap += 2) {
    const int16_t* weights = halves + 8 * (place.weights + tap / 4) + tap % 4;
    const __m256i fine = pair_at(weights), coarse = pair_at(weights + 4);
    const __m256i one = bytes_at(line + tap * pitch);
    const __m256i other = tap + 1 < place.taps ? bytes_at(line + (tap + 1) * pitch) : one;  // multiplied by a weight of zero
    const __m256i left = _mm256_unpacklo_epi8(one, other), right = _mm256_unpackhi_epi8(one, other);
    const __m256i pairs[4] = {_mm256_unpacklo_epi8(left, nothing), _mm256_unpackhi_epi8(left, nothing),
                              _mm256_unpacklo_epi8(right, nothing), _mm256_unpackhi_epi8(right, nothing)};
    for (int part = 0; part < 4; ++part) {
      low[part] = _mm256_add_epi32(low[part], _mm256_madd_epi16(pairs[part], fine));
      high[part] = _mm256_add_epi32(high[part], _mm256_madd_epi16(pairs[part], coarse));
    }
  }
  __m256i levels[4];
  for (int part = 0; part < 4; ++part) levels[part] = _mm256_srli_epi32(halves_sum(low[part], high[part]), kFilterFraction);
  const __m256i bytes = _mm256_packus_epi16(_mm256_packs_epi32(levels[0], levels[1]), _mm256_packs_epi32(levels[2], levels[3]));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), bytes);
}

void down(const Picture& from, const PassFilter& filter, const Canvas& to) {
  const int64_t bytes = 3 * from.cols;
  if (bytes < kColumns) return kPlainPasses.down(from, filter, to);
  for (int64_t y = 0; y < filter.count; ++y) {
    const FilterRow& place = filter.entries[y];
    const uint8_t* line = from.bytes + place.first * from.pitch;
    for (int64_t start = 0; start < bytes; start += kColumns) {
      const int64_t at = start + kColumns <= bytes ? start : bytes - kColumns;  // the last stretch overlaps the one before
      stretch(line + at, from.pitch, place, filter.halves, to.bytes + y * to.pitch + at);
    }
  }
}

}  // namespace

const Passes kAvx2Passes{across, down};

}  // namespace dcnn
