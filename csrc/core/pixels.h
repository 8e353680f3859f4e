// What is done to the pixels of a photograph on their way from a decoder: turned upright, and given other colours.
#pragma once

#include <cstdint>
#include <vector>

#include "core/resample.h"

namespace dcnn {

// Runs of pixels that are written without gaps: of each, `length` pixels that are read `pixel_to_pixel` bytes apart; from one run to
// the next, what is read lies `pixel_to_run` bytes further and what is written `out_to_run`.
struct PixelRuns {
  const uint8_t* pixel;
  int64_t pixel_to_pixel, pixel_to_run;
  int64_t length, count;
  uint8_t* out;
  int64_t out_to_run;
  int64_t beyond;  // runs more that could be read behind the last one
};

// Copies them, as an instruction set does; all have the same result, none writes beside these pixels, and none reads beside these and
// those beyond.
// most: as many pixels of a run as it wants at once where those that are read lie on lines of their own, which must stay close by.
struct CopyRuns {
  void (*copy)(const PixelRuns& runs);
  int64_t most;
};
extern const CopyRuns kPlainCopyRuns;

constexpr int kOnItsSide = 5;  // the first orientation that exchanges rows and columns

// Writes a photograph as EXIF's orientation (1 to 8) says that it is to be looked at, rows without gaps: [rows, cols, 3] bytes, from
// kOnItsSide on [cols, rows, 3].
void turn_pixels(const Picture& from, int orientation, const CopyRuns& copies, uint8_t* to);

// The rows first ... first + count - 1 of the photograph as it is looked at, as runs that write [count, its columns, 3] bytes.
PixelRuns runs_of_rows(const Picture& from, int orientation, int64_t first, int64_t count, uint8_t* to);

constexpr int64_t kColors = int64_t{1} << 24;

// What each color becomes, as far as it is known: of 2^24 entries those that are known have their highest byte set, then red in their
// lowest byte, green, and blue. Several threads may use one table at a time: an entry is written whole, and always the same.
struct ColorTable {
  uint32_t* entries;
};

// Gives `count` pixels of red, green and blue the colors that the table has for them. Returns the places of those that it lacks, which
// are left as they are.
std::vector<int64_t> recolor(uint8_t* pixels, int64_t count, ColorTable table);

// Gives the pixels at `places` the colors `found`, three bytes each, and the table what they were and became.
void learn_colors(uint8_t* pixels, const int64_t* places, int64_t count, const uint8_t* found, ColorTable table);

}  // namespace dcnn
