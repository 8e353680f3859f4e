// The geometry of a photograph's views (dcnn_fast/ops/views/params.py says what they are).
#pragma once

#include <cstdint>

namespace dcnn {

enum class View { center, warp, pad, local };

struct Extents {
  int64_t rows, cols;

  bool operator==(const Extents& other) const { return rows == other.rows && cols == other.cols; }
};

// resized: the photograph before it is cut or padded. top, left: of the plane's first pixel in it, negative where `pad` puts black before
// it. shape: of what windows are cut from.
struct ViewGeometry {
  Extents resized;
  int64_t top, left;
  Extents shape;
};

// plane: the side of the normalised input. Throws std::invalid_argument for a photograph so narrow that it would become too large.
ViewGeometry view_of(const Extents& photo, View view, int64_t plane);

// A photograph whose long side is brought down to `long_side` pixels; the same where it is no longer.
Extents reduced_extents(const Extents& photo, int64_t long_side);

}  // namespace dcnn
