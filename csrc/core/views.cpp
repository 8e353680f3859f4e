#include "core/views.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace dcnn {

namespace {

constexpr int64_t kMostPixels = int64_t{1} << 25;  // MAX_PLANE_PIXELS of dcnn_fast/ops/views

int64_t scaled(int64_t side, int64_t plane, int64_t basis) {
  return std::max<int64_t>(1, (2 * side * plane + basis) / (2 * basis));
}

Extents resized_of(const Extents& photo, View view, int64_t plane) {
  const int64_t shorter = std::min(photo.rows, photo.cols), longer = std::max(photo.rows, photo.cols);
  if (view == View::warp) return {plane, plane};
  if (view == View::local && shorter >= plane) return photo;
  const int64_t basis = view == View::pad ? longer : shorter;
  return {scaled(photo.rows, plane, basis), scaled(photo.cols, plane, basis)};
}

std::string text_of(const Extents& e) { return std::to_string(e.cols) + " x " + std::to_string(e.rows); }

}  // namespace

ViewGeometry view_of(const Extents& photo, View view, int64_t plane) {
  const Extents resized = resized_of(photo, view, plane);
  const double pixels = static_cast<double>(resized.rows) * static_cast<double>(resized.cols);
  const double own = static_cast<double>(photo.rows) * static_cast<double>(photo.cols);
  if (pixels > std::max(static_cast<double>(kMostPixels), 2.0 * own)) {
    throw std::invalid_argument("pixels must not be so narrow that a view needs more than " + std::to_string(kMostPixels) +
                                " pixels, got " + text_of(photo) + ", which becomes " + text_of(resized));
  }
  if (view == View::center) return {resized, (resized.rows - plane) / 2, (resized.cols - plane) / 2, {plane, plane}};
  if (view == View::pad) return {resized, -((plane - resized.rows) / 2), -((plane - resized.cols) / 2), {plane, plane}};
  return {resized, 0, 0, view == View::local ? resized : Extents{plane, plane}};
}

Extents reduced_extents(const Extents& photo, int64_t long_side) {
  const int64_t longest = std::max(photo.rows, photo.cols), shortest = std::min(photo.rows, photo.cols);
  if (longest <= long_side) return photo;
  const int64_t shorter = std::max<int64_t>(1, (2 * shortest * long_side + longest) / (2 * longest));
  return photo.rows >= photo.cols ? Extents{long_side, shorter} : Extents{shorter, long_side};
}

}  // namespace dcnn
