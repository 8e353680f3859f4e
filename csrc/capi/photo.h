// From a photograph to a column's windows, by the steps of dcnn_fast/scoring/prepare.py.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/plan/window.h"
#include "core/resample.h"
#include "core/views.h"

namespace dcnn {

// SHA-256 over the shape and the pixels, in hexadecimal: equal for equal pictures, whatever their source.
std::string digest_of(const Picture& photo);

// Pixels that may lie in a caller's memory, or in `held`.
class Pixels {
 public:
  explicit Pixels(const Picture& picture) : picture_(picture) {}
  explicit Pixels(const Extents& shape);
  Pixels(Pixels&&) = default;
  Pixels& operator=(Pixels&&) = default;

  const Picture& picture() const { return picture_; }
  Extents shape() const { return {picture_.rows, picture_.cols}; }
  uint8_t* held() { return held_.data(); }

 private:
  std::vector<uint8_t> held_;
  Picture picture_;
};

// The photograph reduced to a long side of at most `long_side` pixels; unchanged where it is no larger.
Pixels reduced(const Picture& photo, int64_t long_side, const Passes& passes);

// The view's plane. Throws as view_of does.
Pixels plane_of(const Picture& photo, View view, int64_t plane, const Passes& passes);

// How windows are drawn.
struct Draws {
  int64_t seed, views, grid;
};

// The corners of a column's windows. key: the column's view and its ordinal among columns of that view. shape: that of the
// plane.
std::vector<Window> windows_of(const std::string& digest, const std::string& key, const Draws& draws, View view, const Extents& shape,
                               int64_t plane, int64_t window);

// The distinct windows, sorted by row and column, and each window's index among them.
struct DistinctWindows {
  std::vector<Window> windows;
  std::vector<int64_t> window_of;
};
DistinctWindows distinct(const std::vector<Window>& windows);

}  // namespace dcnn
