#include "core/pixels.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <stdexcept>
#include <string>

namespace dcnn {

namespace {

// The destination of source pixel (row, column), in pixels: from + row * down + column * across.
struct Course {
  int64_t from, down, across;
};

Course course_of(int64_t rows, int64_t cols, int orientation) {
  switch (orientation) {
    case 1: return {0, cols, 1};
    case 2: return {cols - 1, cols, -1};
    case 3: return {rows * cols - 1, -cols, -1};
    case 4: return {(rows - 1) * cols, -cols, 1};
    case 5: return {0, 1, rows};
    case 6: return {rows - 1, -1, rows};
    case 7: return {rows * cols - 1, -1, -rows};
    case 8: return {(cols - 1) * rows, 1, -rows};
    default: throw std::invalid_argument("turn_pixels: the orientation must be from 1 to 8, got " + std::to_string(orientation));
  }
}

// Rows or columns: their number, the source step in bytes and the destination step in pixels.
struct Axis {
  int64_t count, read, written;
};

// Copies pixels that lie `step` bytes apart.
void copy_run(const uint8_t* pixel, int64_t step, int64_t count, uint8_t* out) {
  if (step == 3) {
    std::memcpy(out, pixel, static_cast<size_t>(3 * count));
    return;
  }
  for (int64_t i = 0; i < count; ++i, pixel += step, out += 3) std::memcpy(out, pixel, 3);
}

void copy_runs(const PixelRuns& runs) {
  for (int64_t run = 0; run < runs.count; ++run) {
    copy_run(runs.pixel + run * runs.pixel_to_run, runs.pixel_to_pixel, runs.length, runs.out + run * runs.out_to_run);
  }
}

// A picture's lines: along, where the destination is contiguous, and across them.
struct Lines {
  int64_t from;  // destination of the first pixel
  Axis along, beside;
};

Lines lines_of(const Picture& from, int orientation) {
  const Course course = course_of(from.rows, from.cols, orientation);
  const Axis rows{from.rows, from.pitch, course.down}, cols{from.cols, 3, course.across};
  return orientation >= kOnItsSide ? Lines{course.from, rows, cols} : Lines{course.from, cols, rows};
}

// The pixels start ... start + length - 1 of all lines.
PixelRuns runs_of(const Picture& from, const Lines& lines, int64_t start, int64_t length, uint8_t* to) {
  const auto& [place, along, beside] = lines;
  const bool rising = along.written > 0;
  const int64_t first = rising ? start : start + length - 1;
  return {from.bytes + first * along.read, rising ? along.read : -along.read, beside.read, length, beside.count,
          to + 3 * (place + first * along.written), 3 * beside.written, 0};
}

constexpr uint32_t kKnown = 0xff000000;

// Red's, green's and blue's bits interleaved, the highest first: similar colors, as those of neighbouring pixels, lie close together
// in the table.
constexpr std::array<uint32_t, 256> places_of(int channel) {
  std::array<uint32_t, 256> places{};
  for (uint32_t level = 0; level < 256; ++level) {
    for (int bit = 0; bit < 8; ++bit) places[level] |= (level >> bit & 1) << (3 * bit + 2 - channel);
  }
  return places;
}

constexpr std::array<uint32_t, 256> kRed = places_of(0), kGreen = places_of(1), kBlue = places_of(2);

uint32_t place_of(const uint8_t* pixel) { return kRed[pixel[0]] | kGreen[pixel[1]] | kBlue[pixel[2]]; }

void put(uint8_t* pixel, uint32_t color) {
  pixel[0] = static_cast<uint8_t>(color);
  pixel[1] = static_cast<uint8_t>(color >> 8);
  pixel[2] = static_cast<uint8_t>(color >> 16);
}

// Pixels whose entries are asked for before the first one is used. A photograph's colors lie all over the table, so that most are in no
// nearby cache; a processor that goes from pixel to pixel waits for a few of them at a time, and for half as long in all this way.
constexpr int64_t kTogether = 256;

// `count` pixels, at most kTogether, from the pixel `first` on.
void recolor_together(uint8_t* pixels, int64_t first, int64_t count, ColorTable table, std::vector<int64_t>& lacking) {
  std::array<const uint32_t*, kTogether> entries;
  uint8_t* pixel = pixels + 3 * first;
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t* entry = table.entries + place_of(pixel + 3 * i);
    entries[static_cast<size_t>(i)] = entry;
    __builtin_prefetch(entry);
  }
  for (int64_t i = 0; i < count; ++i, pixel += 3) {
    const uint32_t color = __atomic_load_n(entries[static_cast<size_t>(i)], __ATOMIC_RELAXED);
    if (color >= kKnown) {
      put(pixel, color);
    } else {
      lacking.push_back(first + i);
    }
  }
}

}  // namespace

const CopyRuns kPlainCopyRuns{copy_runs, 32};

void turn_pixels(const Picture& from, int orientation, const CopyRuns& copies, uint8_t* to) {
  const Lines lines = lines_of(from, orientation);
  const int64_t most = orientation >= kOnItsSide ? copies.most : lines.along.count;
  for (int64_t start = 0; start < lines.along.count; start += most) {
    copies.copy(runs_of(from, lines, start, std::min(most, lines.along.count - start), to));
  }
}

PixelRuns runs_of_rows(const Picture& from, int orientation, int64_t first, int64_t count, uint8_t* to) {
  const bool on_its_side = orientation >= kOnItsSide;
  const int64_t last = (on_its_side ? from.cols : from.rows) - first - count;  // rows after the wanted ones
  const bool from_the_end = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
  const int64_t before = from_the_end ? last : first, behind = from_the_end ? first : last;
  const Picture part = on_its_side ? Picture{from.bytes + 3 * before, from.rows, count, from.pitch}
                                   : Picture{from.bytes + before * from.pitch, count, from.cols, from.pitch};
  const Lines lines = lines_of(part, orientation);
  PixelRuns runs = runs_of(part, lines, 0, lines.along.count, to);
  if (on_its_side) runs.beyond = behind;
  return runs;
}

std::vector<int64_t> recolor(uint8_t* pixels, int64_t count, ColorTable table) {
  std::vector<int64_t> lacking;
  for (int64_t first = 0; first < count; first += kTogether) {
    recolor_together(pixels, first, std::min(kTogether, count - first), table, lacking);
  }
  return lacking;
}

void learn_colors(uint8_t* pixels, const int64_t* places, int64_t count, const uint8_t* found, ColorTable table) {
  for (int64_t i = 0; i < count; ++i, found += 3) {
    uint8_t* pixel = pixels + 3 * places[i];
    const uint32_t color = kKnown | static_cast<uint32_t>(found[2]) << 16 | static_cast<uint32_t>(found[1]) << 8 | found[0];
    __atomic_store_n(table.entries + place_of(pixel), color, __ATOMIC_RELAXED);
    put(pixel, color);
  }
}

}  // namespace dcnn
