#include "core/summary.h"

#include <algorithm>
#include <cstddef>
#include <memory>

namespace dcnn {

namespace {

constexpr int64_t kStripRows = 64;  // in a photograph on its side, as many columns: few cache lines are read together

// Strips of a photograph; turned ones alternate between two buffers.
class Strips {
 public:
  explicit Strips(const DecodedPhoto& photo) : photo_(photo) {
    if (!turned()) return;
    for (auto& place : places_) place.reset(new uint8_t[static_cast<size_t>(3 * std::min(kStripRows, photo.rows()) * photo.cols())]);
  }

  int64_t count() const { return (photo_.rows() + kStripRows - 1) / kStripRows; }
  int64_t first(int64_t strip) const { return strip * kStripRows; }
  int64_t rows(int64_t strip) const { return std::min(kStripRows, photo_.rows() - first(strip)); }

  Picture picture(int64_t strip) const {
    const int64_t pitch = 3 * photo_.cols();
    return {turned() ? place(strip) : photo_.picture.bytes + first(strip) * pitch, rows(strip), photo_.cols(), pitch};
  }

  // The work that produces a strip.
  PixelRuns turning(int64_t strip) const {
    if (!turned() || strip >= count()) return {};
    return runs_of_rows(photo_.picture, photo_.orientation, first(strip), rows(strip), place(strip));
  }

 private:
  bool turned() const { return photo_.orientation != 1; }
  uint8_t* place(int64_t strip) const { return places_[strip % 2].get(); }

  const DecodedPhoto& photo_;
  std::unique_ptr<uint8_t[]> places_[2];
};

}  // namespace

void summarize(const DecodedPhoto& photo, TakeStrip take, Hasher& hash, const StripResizer* resizer) {
  const Strips strips(photo);
  take({{}, {}, strips.turning(0)});
  for (int64_t strip = 0; strip < strips.count(); ++strip) {
    const Picture picture = strips.picture(strip);
    take({hash.blocks_of(picture.bytes, picture.rows * picture.pitch),
          resizer ? resizer->of(picture, strips.first(strip)) : AcrossWork{}, strips.turning(strip + 1)});
  }
}

}  // namespace dcnn
