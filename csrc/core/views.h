// The geometry of a photograph's views (dcnn_fast/ops/views/params.py defines them).
#pragma once

#include <cstdint>

namespace dcnn {

enum class View { center, warp, pad, local };

struct Extents {
  int64_t rows, cols;

  bool operator==(const Extents& other) const { return rows == other.rows && cols == other.cols; }
};

// resized: the photograph before it is cut or padded. top, left: place of the plane's first pixel in it, negative where `pad`
// adds black. shape: the plane's.
struct ViewGeometry {
  Extents resized;
  int64_t top, left;
  Extents shape;
};

// plane: the side of the normalised input. Throws std::invalid_argument for a photograph so narrow that it would become too
// large.
ViewGeometry view_of(const Extents& photo, View view, int64_t plane);

// The extents of a photograph reduced to a long side of `long_side` pixels; unchanged where it is no longer.
Extents reduced_extents(const Extents& photo, int64_t long_side);

}  // namespace dcnn
