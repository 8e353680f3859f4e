// A network of inverted residual blocks between a convolution and a layer at each pixel, whose maps are averaged: EfficientNet-Lite.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernel.h"
#include "mbconv.h"

namespace dcnn {

// The convolution of `size` x `size`, `stride` apart, that reads pixels as (pixel - mean) * scale, with ReLU6 behind it. Padded as the
// blocks are: zeros before and after, an odd one after.
struct Stem {
  int64_t channels, filters, size, stride;
  std::vector<float> mean;  // of each channel
  float scale;
};

class Backbone {
 public:
  // stem_layer.weight: [filters, channels, size, size]. head.weight: [outputs, filters of the last block]. taps: numbers of the blocks,
  // ascending, whose results are averaged too. Throws std::invalid_argument naming what does not fit.
  Backbone(const Isa& isa, Stem stem, const MbConvLayer& stem_layer, std::vector<std::shared_ptr<PackedMbConv>> blocks,
           int64_t outputs, const MbConvLayer& head, std::vector<int64_t> taps, bool bf16);

  const Stem& stem() const { return stem_; }
  int64_t channels() const { return stem_.channels; }
  int64_t features() const;  // the taps' filters, and the head's outputs

  // The means of an image's maps, out [features]: one image on up to `threads` threads. x: as BlockProblem's sources, its first image.
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

// Throws std::invalid_argument for images so large, or empty, that their maps cannot be counted.
void require_extents(const Backbone& net, int64_t height, int64_t width);

// x: `images` images. out: [images, features]. Images are spread over the threads; where there are fewer, each image is.
void run_backbone(const Backbone& net, const Source& x, int64_t images, int64_t height, int64_t width, float* out, int threads);

}  // namespace dcnn
