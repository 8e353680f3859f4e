// Everything that scoring needs from a decoded photograph, in one pass over its pixels: digest and reduced photograph.
//
// Each round of SHA-256 waits for the previous one, so hashing leaves most of a processor idle. Here other work fills the gaps
// at little cost: the photograph is walked in upright strips of rows, and while one strip is hashed, it is resampled across and
// the next one is turned. A photograph on its side is never written upright as a whole.
#pragma once

#include <cstdint>

#include "core/pixels.h"
#include "core/resample.h"
#include "core/resample_strips.h"
#include "core/sha256.h"

namespace dcnn {

// The work for one strip. Each part may be empty: blocks.count, across.filter.count or turning.count is 0.
struct StripWork {
  HashBlocks blocks;
  AcrossWork across;
  PixelRuns turning;  // produces the next strip
};

using TakeStrip = void (*)(const StripWork& work);

// A photograph as decoded, and EXIF's orientation (1 to 8), which says how to turn it upright.
struct DecodedPhoto {
  Picture picture;
  int orientation;

  bool on_its_side() const { return orientation >= kOnItsSide; }
  int64_t rows() const { return on_its_side() ? picture.cols : picture.rows; }
  int64_t cols() const { return on_its_side() ? picture.rows : picture.cols; }
};

// Passes all rows, turned upright, to the hash and to the resizer, if there is one. The picture's rows must be contiguous.
void summarize(const DecodedPhoto& photo, TakeStrip take, Hasher& hash, const StripResizer* resizer);

}  // namespace dcnn
