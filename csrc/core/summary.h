// What scoring takes from a decoded photograph, in one walk over its pixels: their digest, and the photograph reduced.
//
// Each round of SHA-256 waits for the one before, so that most of a processor is idle while it hashes. Here it is given other work
// meanwhile, which then costs little: the pixels are walked in strips of rows as they are looked at, and while one is hashed it is
// resampled across, and the next one is turned. A photograph that lies on its side is never written upright as a whole.
#pragma once

#include <cstdint>

#include "core/pixels.h"
#include "core/resample.h"
#include "core/resample_strips.h"
#include "core/sha256.h"

namespace dcnn {

// What is done with one strip. Each part may be none of the work: blocks.count, across.filter.count or turning.count 0.
struct StripWork {
  HashBlocks blocks;
  AcrossWork across;
  PixelRuns turning;  // of the next strip
};

using TakeStrip = void (*)(const StripWork& work);

// A photograph as it was decoded, and how EXIF's orientation (1 to 8) says that it is to be looked at.
struct DecodedPhoto {
  Picture picture;
  int orientation;

  bool on_its_side() const { return orientation >= kOnItsSide; }
  int64_t rows() const { return on_its_side() ? picture.cols : picture.rows; }
  int64_t cols() const { return on_its_side() ? picture.rows : picture.cols; }
};

// Gives all its rows, turned, to the hash, and to the resizer, if there is one. The picture's rows lie without gaps.
void summarize(const DecodedPhoto& photo, TakeStrip take, Hasher& hash, const StripResizer* resizer);

}  // namespace dcnn
