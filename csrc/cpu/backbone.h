// A convolution, inverted residual blocks, a layer at each pixel, and the means of the maps: EfficientNet-Lite.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernel.h"
#include "mbconv.h"

namespace dcnn {

// A convolution of `size` x `size` with the given stride, followed by ReLU6. It reads pixels as (pixel - mean) * scale and is
// padded with zeros on both sides; where their number is odd, the extra one comes last.
struct Stem {
  int64_t channels, filters, size, stride;
  std::vector<float> mean;  // for each channel
  float scale;
};

class Backbone {
 public:
  // stem_layer.weight: [filters, channels, size, size]. head.weight: [outputs, filters of the last block]. taps: ascending
  // indices of blocks whose results are averaged too. Throws std::invalid_argument naming the mismatch.
  Backbone(const Isa& isa, Stem stem, const MbConvLayer& stem_layer, std::vector<std::shared_ptr<PackedMbConv>> blocks,
           int64_t outputs, const MbConvLayer& head, std::vector<int64_t> taps, bool bf16);

  const Stem& stem() const { return stem_; }
  int64_t channels() const { return stem_.channels; }
  int64_t features() const;  // the taps' filters plus the head's outputs

  // Writes the means of one image's maps to out [features], on up to `threads` threads. x: as BlockProblem's sources; its first
  // image.
  void run(const Source& x, int64_t height, int64_t width, float* out, int threads) const;

 private:
  void run_stem(const Source& x, int64_t height, int64_t width, float* out, int threads) const;
  void run_head(const float* x, int64_t pixels, float* means, int threads) const;

  const Isa* isa_;
  Stem stem_;
  PackedPixels stem_layer_;
  std::vector<std::shared_ptr<PackedMbConv>> blocks_;
  PackedPixels head_;
  std::vector<int64_t> taps_;
};

// Throws std::invalid_argument for empty images and for images whose maps would be too large.
void require_extents(const Backbone& net, int64_t height, int64_t width);

// x: `images` images. out: [images, features]. Threads take whole images; where images are fewer, threads share each.
void run_backbone(const Backbone& net, const Source& x, int64_t images, int64_t height, int64_t width, float* out, int threads);

}  // namespace dcnn
