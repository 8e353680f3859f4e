#include "core/offsets.h"

#include <stdexcept>

namespace dcnn {

namespace {

constexpr int64_t kEnd = int64_t{1} << 31;

struct Words {
  uint64_t a, b, c, d;
};

// The upper 64 bits of the 128-bit product.
uint64_t high_half(uint64_t x, uint64_t y) {
  const uint64_t low = UINT32_MAX;
  const uint64_t middle = (x >> 32) * (y & low) + (((x & low) * (y & low)) >> 32);
  return (x >> 32) * (y >> 32) + (middle >> 32) + (((middle & low) + (x & low) * (y >> 32)) >> 32);
}

Words philox(const DrawKey& key, uint64_t counter) {
  constexpr uint64_t kFirst = 0xD2E7470EE14C6C93, kSecond = 0xCA5A826395121157;      // multipliers
  constexpr uint64_t kLowStep = 0x9E3779B97F4A7C15, kHighStep = 0xBB67AE8584CAA73B;  // added to the key in each round
  DrawKey round = key;
  Words words{counter, 0, 0, 0};
  for (int i = 0; i < 10; ++i) {
    words = {high_half(kSecond, words.c) ^ words.b ^ round.low, kSecond * words.c,
             high_half(kFirst, words.a) ^ words.d ^ round.high, kFirst * words.a};
    round = {round.low + kLowStep, round.high + kHighStep};
  }
  return words;
}

// A multiple of `grid` from 0 to `most`: floor(word * multiples / 2**64) * grid, of `multiples` multiples.
int64_t drawn(uint64_t word, int64_t most, int64_t grid) {
  const int64_t multiples = most / grid + 1;
  return static_cast<int64_t>(high_half(word, static_cast<uint64_t>(multiples))) * grid;
}

void require(bool holds, const char* message) {
  if (!holds) throw std::invalid_argument(message);
}

}  // namespace

void draw_offsets(const DrawKey& key, int64_t count, const DrawLimits& rows, const DrawLimits& cols, int64_t grid, int64_t* offsets) {
  require(count >= 0, "offsets: their number must not be negative");
  require(grid >= 1 && grid < kEnd, "offsets: the grid must be from 1 to 2**31 - 1");
  for (const int64_t most : {rows.window, rows.crop, cols.window, cols.crop}) {
    require(most >= 0 && most < kEnd, "offsets: a limit must be from 0 to 2**31 - 1");
  }
  for (int64_t i = 0; i < count; ++i) {
    const Words words = philox(key, static_cast<uint64_t>(i) + 1);  // numpy increments its counter before each block
    offsets[2 * i] = drawn(words.a, rows.window, grid) + drawn(words.c, rows.crop, grid);
    offsets[2 * i + 1] = drawn(words.b, cols.window, grid) + drawn(words.d, cols.crop, grid);
  }
}

}  // namespace dcnn
