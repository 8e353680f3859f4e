// Operations on the pixels of a decoded photograph: turning it upright and converting its colours.
#pragma once

#include <cstdint>
#include <vector>

#include "core/resample.h"

namespace dcnn {

// Runs of `length` pixels whose destination is contiguous; source pixels of a run lie `pixel_to_pixel` bytes apart. From one
// run to the next, the source moves by `pixel_to_run` bytes and the destination by `out_to_run`.
struct PixelRuns {
  const uint8_t* pixel;
  int64_t pixel_to_pixel, pixel_to_run;
  int64_t length, count;
  uint8_t* out;
  int64_t out_to_run;
  int64_t beyond;  // further runs that may be read after the last one
};

// An instruction set's copy of runs. All give the same result; none writes other pixels, and none reads beyond these and the
// `beyond` runs. most: the longest run to pass at once where source pixels lie on separate cache lines, so that the lines stay
// cached.
struct CopyRuns {
  void (*copy)(const PixelRuns& runs);
  int64_t most;
};
extern const CopyRuns kPlainCopyRuns;

constexpr int kOnItsSide = 5;  // the first orientation that exchanges rows and columns

// Writes the photograph upright, rows without gaps. orientation: EXIF's, 1 to 8. to: [rows, cols, 3] bytes, or [cols, rows, 3]
// from kOnItsSide on.
void turn_pixels(const Picture& from, int orientation, const CopyRuns& copies, uint8_t* to);

// Rows first ... first + count - 1 of the upright photograph, as runs that write [count, its columns, 3] bytes.
PixelRuns runs_of_rows(const Picture& from, int orientation, int64_t first, int64_t count, uint8_t* to);

constexpr int64_t kColors = int64_t{1} << 24;

// The converted colors known so far, one of 2^24 entries for each color: a known entry has all bits of its highest byte set,
// and red, green and blue from its lowest byte up. Threads may share a table: each entry is written whole, always with the same
// value.
struct ColorTable {
  uint32_t* entries;
};

// Converts `count` RGB pixels by the table. Returns the indices of the pixels whose colors it lacks; these stay unchanged.
std::vector<int64_t> recolor(uint8_t* pixels, int64_t count, ColorTable table);

// Sets the pixels at `places` to the colors `found`, three bytes each, and enters the conversions in the table.
void learn_colors(uint8_t* pixels, const int64_t* places, int64_t count, const uint8_t* found, ColorTable table);

}  // namespace dcnn
