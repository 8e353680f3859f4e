#include "core/resample.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <stdexcept>
#include <string>

#include "core/resample_strips.h"

namespace dcnn {

namespace {

constexpr int64_t kEnd = int64_t{1} << 31;
constexpr int64_t kMostWeights = int64_t{1} << 28;  // Pillow stores them as doubles, in at most 2 GB
constexpr int32_t kHalf = 1 << (kFilterFraction - 1);

void require_extent(int64_t value, const char* name) {
  if (value >= 1 && value < kEnd) return;
  throw std::invalid_argument(std::string("views: ") + name + " must be from 1 to 2**31 - 1, got " + std::to_string(value));
}

// The rounded weights of one output, for the pixels from `first` on; some may be zero.
struct Triangle {
  double scale, support, inverse;
  int64_t size;

  int64_t first(double centre) const { return std::max<int64_t>(static_cast<int64_t>(centre - support + 0.5), 0); }
  int64_t end(double centre) const { return std::min(static_cast<int64_t>(centre + support + 0.5), size); }

  void weights(double centre, std::vector<double>& values, std::vector<int32_t>& rounded) const {
    const int64_t start = first(centre);
    values.resize(static_cast<size_t>(end(centre) - start));
    double total = 0.0;
    for (size_t i = 0; i < values.size(); ++i) {
      const double distance = (static_cast<double>(static_cast<int64_t>(i) + start) - centre + 0.5) * inverse;
      values[i] = std::max(0.0, 1.0 - std::fabs(distance));
      total += values[i];
    }
    rounded.resize(values.size());
    for (size_t i = 0; i < values.size(); ++i) {
      rounded[i] = static_cast<int32_t>(0.5 + values[i] / total * (1 << kFilterFraction));
    }
  }
};

// The low 15 bits of each group of four weights, then the bits above.
std::vector<int16_t> halves_of(const std::vector<int32_t>& weights) {
  std::vector<int16_t> halves(2 * weights.size());
  for (size_t i = 0; i < weights.size(); ++i) {
    const size_t place = i / 4 * 8 + i % 4;
    halves[place] = static_cast<int16_t>(weights[i] & 0x7fff);
    halves[place + 4] = static_cast<int16_t>(weights[i] >> 15);
  }
  return halves;
}

uint8_t byte_of(int32_t sum) { return static_cast<uint8_t>(std::min(sum >> kFilterFraction, 255)); }

void plain_across(const Picture& from, const PassFilter& filter, const Canvas& to) {
  for (int64_t y = 0; y < from.rows; ++y) {
    const uint8_t* line = from.bytes + y * from.pitch;
    uint8_t* out = to.bytes + y * to.pitch;
    for (int64_t x = 0; x < filter.count; ++x, out += 3) {
      const FilterRow& place = filter.entries[x];
      const int32_t* weights = filter.weights + int64_t{4} * place.weights;
      const uint8_t* pixel = line + int64_t{3} * place.first;
      int32_t red = kHalf, green = kHalf, blue = kHalf;
      for (int32_t tap = 0; tap < place.taps; ++tap, pixel += 3) {
        red += pixel[0] * weights[tap];
        green += pixel[1] * weights[tap];
        blue += pixel[2] * weights[tap];
      }
      out[0] = byte_of(red);
      out[1] = byte_of(green);
      out[2] = byte_of(blue);
    }
  }
}

// Works on stretches of bytes whose sums stay in registers or in cache.
void plain_down(const Picture& from, const PassFilter& filter, const Canvas& to) {
  constexpr int64_t kStretch = 64;
  const int64_t bytes = 3 * from.cols;
  for (int64_t y = 0; y < filter.count; ++y) {
    const FilterRow& place = filter.entries[y];
    const int32_t* weights = filter.weights + int64_t{4} * place.weights;
    for (int64_t start = 0; start < bytes; start += kStretch) {
      const int64_t count = std::min(kStretch, bytes - start);
      int32_t sums[kStretch];
      std::fill(sums, sums + kStretch, kHalf);
      for (int32_t tap = 0; tap < place.taps; ++tap) {
        const uint8_t* line = from.bytes + (place.first + tap) * from.pitch + start;
        for (int64_t i = 0; i < count; ++i) sums[i] += line[i] * weights[tap];
      }
      uint8_t* out = to.bytes + y * to.pitch + start;
      for (int64_t i = 0; i < count; ++i) out[i] = byte_of(sums[i]);
    }
  }
}

void resample(const Picture& from, const CutAxis& rows, const CutAxis& cols, bool down_first, const Passes& passes, const Canvas& to) {
  if (!rows.resampled && !cols.resampled) {
    for (int64_t y = 0; y < to.rows; ++y) {
      std::memcpy(to.bytes + y * to.pitch, from.bytes + y * from.pitch, static_cast<size_t>(3 * to.cols));
    }
  } else if (!rows.resampled) {
    passes.across(from, cols.pass(), to);
  } else if (!cols.resampled) {
    passes.down(from, rows.pass(), to);
  } else if (down_first) {
    const Between between(to.rows, from.cols);
    passes.down(from, rows.pass(), between.canvas());
    passes.across(between.picture(), cols.pass(), to);
  } else {
    const Between between(from.rows, to.cols);
    passes.across(from, cols.pass(), between.canvas());
    passes.down(between.picture(), rows.pass(), to);
  }
}

}  // namespace

const Passes kPlainPasses{plain_across, plain_down};

bool down_comes_first(int64_t lost_rows, int64_t lost_cols) { return lost_rows > 0 && lost_rows > 2 * lost_cols; }

CutAxis axis_of(int64_t size, int64_t target, Range outputs) {
  if (size == target) return {false, outputs, {}, {}};
  CutAxis axis{true, {size, 0}, bilinear_filter(size, target, outputs.first, outputs.last + 1), {}};
  for (const FilterRow& place : axis.filter.entries) {
    axis.source = around(axis.source, {place.first, place.first + std::max(place.taps, 1) - 1});
  }
  for (FilterRow& place : axis.filter.entries) place.first -= static_cast<int32_t>(axis.source.first);
  axis.halves = halves_of(axis.filter.weights);
  return axis;
}

Filter bilinear_filter(int64_t size, int64_t target, int64_t start, int64_t stop) {
  require_extent(size, "a side");
  require_extent(target, "a resized side");
  if (start < 0 || start >= stop || stop > target) throw std::invalid_argument("views: outputs must be some of those of the axis");
  const double scale = static_cast<double>(static_cast<float>(size)) / static_cast<double>(target);  // Pillow's box has floats
  const double support = std::max(scale, 1.0);
  if (stop - start > kMostWeights / (2 * static_cast<int64_t>(std::ceil(support)) + 1)) {
    throw std::invalid_argument("views: resizing " + std::to_string(size) + " to " + std::to_string(target) + " pixels takes too many weights");
  }
  const Triangle triangle{scale, support, 1.0 / support, size};
  Filter filter;
  std::vector<double> values;
  std::vector<int32_t> rounded;
  for (int64_t i = start; i < stop; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    triangle.weights(centre, values, rounded);
    const auto positive = [](int32_t weight) { return weight > 0; };
    const auto from = std::find_if(rounded.begin(), rounded.end(), positive);
    const auto to = std::find_if(rounded.rbegin(), std::make_reverse_iterator(from), positive).base();
    const auto first = triangle.first(centre) + (from == rounded.end() ? 0 : from - rounded.begin());
    const auto taps = static_cast<int32_t>(to - from), quads = (taps + 3) / 4;
    filter.entries.push_back({static_cast<int32_t>(first), taps, static_cast<int32_t>(filter.weights.size() / 4), quads});
    filter.weights.insert(filter.weights.end(), from, to);
    filter.weights.resize(filter.weights.size() + static_cast<size_t>(4 * quads - taps), 0);
  }
  return filter;
}

void cut_picture(const Picture& picture, const PictureCut& cut, const Passes& passes, uint8_t* to) {
  for (const int64_t side : {picture.rows, picture.cols}) require_extent(side, "a side");
  for (const int64_t side : {cut.resized_rows, cut.resized_cols}) require_extent(side, "a resized side");
  for (const int64_t side : {cut.rows, cut.cols}) require_extent(side, "a side of the cut");
  for (const int64_t place : {cut.top, cut.left}) {
    if (place <= -kEnd || place >= kEnd) throw std::invalid_argument("views: a cut must lie at less than 2**31");
  }
  const Range rows = common({0, cut.rows - 1}, Range{0, cut.resized_rows - 1}.moved(-cut.top));
  const Range cols = common({0, cut.cols - 1}, Range{0, cut.resized_cols - 1}.moved(-cut.left));
  const int64_t pitch = 3 * cut.cols;
  if (rows.count() < cut.rows || cols.count() < cut.cols) std::memset(to, 0, static_cast<size_t>(cut.rows * pitch));
  if (rows.empty() || cols.empty()) return;
  const CutAxis down = axis_of(picture.rows, cut.resized_rows, rows.moved(cut.top));
  const CutAxis across = axis_of(picture.cols, cut.resized_cols, cols.moved(cut.left));
  const Picture part{picture.bytes + down.source.first * picture.pitch + 3 * across.source.first, down.source.count(),
                     across.source.count(), picture.pitch};
  resample(part, down, across, down_comes_first(picture.rows - cut.resized_rows, picture.cols - cut.resized_cols), passes,
           {to + rows.first * pitch + 3 * cols.first, rows.count(), cols.count(), pitch});
}

}  // namespace dcnn
