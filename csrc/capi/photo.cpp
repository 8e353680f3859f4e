#include "capi/photo.h"

#include <algorithm>
#include <map>
#include <utility>

#include "core/offsets.h"
#include "core/sha256.h"
#include "hashes.h"

namespace dcnn {

namespace {

uint64_t word(const std::array<uint8_t, 32>& digest, size_t first) {
  uint64_t value = 0;
  for (size_t i = 8; i-- > 0;) value = value << 8 | digest[first + i];
  return value;
}

void add_extent(Hasher& state, int64_t extent) {
  uint8_t bytes[8];
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<uint8_t>(static_cast<uint64_t>(extent) >> (8 * i));
  state.add(bytes, sizeof bytes);
}

Pixels cut(const Picture& photo, const ViewGeometry& geometry, const Passes& passes) {
  Pixels made(geometry.shape);
  cut_picture(photo, {geometry.resized.rows, geometry.resized.cols, geometry.top, geometry.left, geometry.shape.rows, geometry.shape.cols},
              passes, made.held());
  return made;
}

}  // namespace

std::string digest_of(const Picture& photo) {
  Hasher state(hash_blocks());
  state.add("dcnn_fast photo 1");
  add_extent(state, photo.rows);
  add_extent(state, photo.cols);
  for (int64_t row = 0; row < photo.rows; ++row) state.add(photo.bytes + row * photo.pitch, 3 * photo.cols);
  return hexadecimal(state.finish());
}

Pixels::Pixels(const Extents& shape)
    : held_(static_cast<size_t>(3 * shape.rows * shape.cols)), picture_{held_.data(), shape.rows, shape.cols, 3 * shape.cols} {}

Pixels reduced(const Picture& photo, int64_t long_side, const Passes& passes) {
  const Extents own{photo.rows, photo.cols}, shape = reduced_extents(own, long_side);
  return shape == own ? Pixels(photo) : cut(photo, {shape, 0, 0, shape}, passes);
}

Pixels plane_of(const Picture& photo, View view, int64_t plane, const Passes& passes) {
  const Extents own{photo.rows, photo.cols};
  const ViewGeometry geometry = view_of(own, view, plane);
  return geometry.resized == own && geometry.shape == own ? Pixels(photo) : cut(photo, geometry, passes);
}

std::vector<Window> windows_of(const std::string& digest, const std::string& key, const Draws& draws, View view, const Extents& shape,
                               int64_t plane, int64_t window) {
  const std::string text = "dcnn_fast views 1|" + std::to_string(draws.seed) + "|" + digest + "|" + key;
  Hasher state(hash_blocks());
  state.add(text);
  const auto hash = state.finish();
  const bool local = view == View::local;
  const DrawLimits rows{plane - window, local ? shape.rows - plane : 0}, cols{plane - window, local ? shape.cols - plane : 0};
  std::vector<int64_t> offsets(static_cast<size_t>(2 * draws.views));
  draw_offsets({word(hash, 0), word(hash, 8)}, draws.views, rows, cols, draws.grid, offsets.data());
  std::vector<Window> windows;
  for (size_t i = 0; i < offsets.size(); i += 2) windows.push_back({offsets[i], offsets[i + 1]});
  return windows;
}

DistinctWindows distinct(const std::vector<Window>& windows) {
  std::map<std::pair<int64_t, int64_t>, int64_t> numbers;
  for (const Window& window : windows) numbers.emplace(std::pair{window.top, window.left}, 0);
  DistinctWindows found;
  for (auto& [corner, number] : numbers) {
    number = static_cast<int64_t>(found.windows.size());
    found.windows.push_back({corner.first, corner.second});
  }
  for (const Window& window : windows) found.window_of.push_back(numbers.at({window.top, window.left}));
  return found;
}

}  // namespace dcnn
