#include "backbone.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "buffer.h"
#include "plain_arithmetic.h"
#include "spread.h"

namespace dcnn {

namespace {

constexpr int64_t kRows = 8;  // of the stem, in one thread's share

// The maps of alternating blocks, kept for the thread's next image.
thread_local Buffer maps_of_thread[2];

// The buffer `which`, with room for an image's maps.
float* room(int which, int64_t pixels, int64_t maps) {
  return maps_of_thread[which].at_least(static_cast<size_t>(product("an image's maps", pixels, maps)));
}

void refuse(const std::string& what) { throw std::invalid_argument("backbone: " + what); }

// Reorders [filters, channels, taps] to [filters, taps, channels], the order of patches.
std::vector<float> channels_last(const float* weight, int64_t filters, int64_t channels, int64_t taps) {
  std::vector<float> found(static_cast<size_t>(filters * channels * taps));
  for (int64_t f = 0; f < filters; ++f) {
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t t = 0; t < taps; ++t) found[static_cast<size_t>((f * taps + t) * channels + c)] = weight[(f * channels + c) * taps + t];
    }
  }
  return found;
}

PackedPixels packed_stem(const Isa& isa, const Stem& stem, const MbConvLayer& layer, bool bf16) {
  const int64_t taps = stem.size * stem.size;
  const std::vector<float> weight = channels_last(layer.weight, stem.filters, stem.channels, taps);
  return {isa, taps * stem.channels, stem.filters, bf16, {weight.data(), layer.bias}};
}

// The stem's input rows of an image.
struct StemRows {
  const Stem& stem;
  const Source& x;
  int64_t height, width, left, cols;  // the image's; zeros before a row; pixels of a padded row
  std::vector<float> means;           // for a row of the image, [width, channels]

  // Reads row `row` of the image as [cols, channels], with zeros outside the image.
  void read(int64_t row, float* to) const {
    const int64_t channels = stem.channels, inside = std::min(width, cols - left) * channels;
    if (row < 0 || row >= height) return std::fill(to, to + cols * channels, 0.0f);
    std::fill(to, to + left * channels, 0.0f);
    std::fill(to + left * channels + inside, to + cols * channels, 0.0f);
    to += left * channels;
    x.bytes ? put(static_cast<const uint8_t*>(x.data) + row * x.row_stride, inside, to)
            : put(static_cast<const float*>(x.data) + row * x.row_stride, inside, to);
  }

  template <typename Pixel>
  void put(const Pixel* from, int64_t inside, float* to) const {
    const int64_t channels = stem.channels;
    const float scale = stem.scale, *mean = means.data();
    if (x.channel_stride == 1 && x.col_stride == channels) {
      for (int64_t i = 0; i < inside; ++i) to[i] = (static_cast<float>(from[i]) - mean[i]) * scale;
      return;
    }
    for (int64_t i = 0; i < inside; ++i) {
      to[i] = (static_cast<float>(from[i / channels * x.col_stride + i % channels * x.channel_stride]) - mean[i]) * scale;
    }
  }
};

// Writes the patches of a row of outputs, [cols, size, run]. rows: `wide` floats apart; step: floats between patches.
template <typename Run>
void gather(const float* rows, int64_t wide, int64_t cols, int64_t size, int64_t step, Run run, float* to) {
  for (int64_t col = 0; col < cols; ++col) {
    for (int64_t i = 0; i < size; ++i, to += run) std::memcpy(to, rows + i * wide + col * step, static_cast<size_t>(run) * sizeof(float));
  }
}

// The mean of each of `channels` maps, with pixels added in order.
void add_means(const float* maps, int64_t pixels, int64_t channels, float* means) {
  std::fill(means, means + channels, 0.0f);
  for (int64_t i = 0; i < pixels; ++i) {
    for (int64_t c = 0; c < channels; ++c) means[c] += maps[i * channels + c];
  }
  for (int64_t c = 0; c < channels; ++c) means[c] /= static_cast<float>(pixels);
}

}  // namespace

Backbone::Backbone(const Isa& isa, Stem stem, const MbConvLayer& stem_layer, std::vector<std::shared_ptr<PackedMbConv>> blocks,
                   int64_t outputs, const MbConvLayer& head, std::vector<int64_t> taps, bool bf16)
    : isa_(&isa),
      stem_(std::move(stem)),
      stem_layer_(packed_stem(isa, stem_, stem_layer, bf16)),
      blocks_(std::move(blocks)),
      head_(isa, blocks_.empty() ? 1 : blocks_.back()->shape().filters, outputs, bf16, head),
      taps_(std::move(taps)) {
  if (blocks_.empty()) refuse("there must be at least one block");
  int64_t channels = stem_.filters;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const MbConvShape& shape = blocks_[i]->shape();
    if (shape.channels != channels || shape.bf16 != bf16 || &blocks_[i]->isa() != &isa) {
      refuse("block " + std::to_string(i) + " must take " + std::to_string(channels) + " channels, in the others' precision and " +
             "instruction set");
    }
    channels = shape.filters;
  }
  for (size_t i = 0; i < taps_.size(); ++i) {
    const bool ascends = i == 0 || taps_[i - 1] < taps_[i];
    if (taps_[i] < 0 || taps_[i] >= static_cast<int64_t>(blocks_.size()) || !ascends) refuse("taps must be numbers of blocks, ascending");
  }
}

int64_t Backbone::features() const {
  int64_t count = head_.layer().outputs;
  for (const int64_t tap : taps_) count += blocks_[static_cast<size_t>(tap)]->shape().filters;
  return count;
}

void Backbone::run_stem(const Source& x, int64_t height, int64_t width, float* out, int threads) const {
  const int64_t size = stem_.size, stride = stem_.stride, channels = stem_.channels;
  const int64_t rows = (height + stride - 1) / stride, cols = (width + stride - 1) / stride;
  const int64_t top = padding_before(height, rows, size, stride), left = padding_before(width, cols, size, stride);
  const int64_t wide = ((cols - 1) * stride + size) * channels, run = size * channels;
  StemRows reader{stem_, x, height, width, left, wide / channels, {}};
  for (int64_t i = 0; i < width * channels; ++i) reader.means.push_back(stem_.mean[static_cast<size_t>(i % channels)]);
  const PixelLayer layer = stem_layer_.layer();
  const MbConvKernels& kernels = isa_->mbconv();
  const int64_t read = round_up(((kRows - 1) * stride + size) * wide, 16), patches = round_up(cols * size * run, 16);
  spread((rows + kRows - 1) / kRows, threads, [&](int64_t task, Scratch& scratch) {
    float* const pixels = scratch.at_least(static_cast<size_t>(read + patches) + kernels.pixels_scratch(layer, cols));
    float* const gathered = pixels + read;
    const int64_t first = task * kRows, last = std::min(rows, first + kRows);
    for (int64_t i = 0; i < (last - first - 1) * stride + size; ++i) reader.read(first * stride - top + i, pixels + i * wide);
    for (int64_t y = first; y < last; ++y) {
      const float* from = pixels + (y - first) * stride * wide;
      constexpr std::integral_constant<int64_t, 9> nine{};  // three pixels of three channels, without a call
      run == nine ? gather(from, wide, cols, size, stride * channels, nine, gathered)
                  : gather(from, wide, cols, size, stride * channels, run, gathered);
      kernels.pixels(layer, gathered, cols, out + y * cols * stem_.filters, gathered + patches);
    }
  });
}

void Backbone::run_head(const float* x, int64_t pixels, float* means, int threads) const {
  const PixelLayer layer = head_.layer();
  const MbConvKernels& kernels = isa_->mbconv();
  float* const maps = room(x == maps_of_thread[0].data() ? 1 : 0, pixels, layer.outputs);
  const int64_t parts = std::min<int64_t>(threads, pixels);
  spread(parts, threads, [&](int64_t part, Scratch& scratch) {
    const int64_t first = part * pixels / parts, last = (part + 1) * pixels / parts;
    kernels.pixels(layer, x + first * layer.inputs, last - first, maps + first * layer.outputs,
                   scratch.at_least(kernels.pixels_scratch(layer, last - first)));
  });
  add_means(maps, pixels, layer.outputs, means);
}

void Backbone::run(const Source& x, int64_t height, int64_t width, float* out, int threads) const {
  int64_t rows = (height + stem_.stride - 1) / stem_.stride, cols = (width + stem_.stride - 1) / stem_.stride;
  float* const first = room(0, rows * cols, stem_.filters);
  run_stem(x, height, width, first, threads);
  const float* maps = first;
  size_t tap = 0;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const MbConvProblem p = blocks_[i]->over(rows, cols);
    const int64_t pixels = p.out_height * p.out_width, filters = p.shape.filters;
    float* const made = room(static_cast<int>((i + 1) % 2), pixels, filters);
    const float* const next = i + 1 < blocks_.size() ? blocks_[i + 1]->first_weights() : head_.layer().weight;
    run_mbconv(*blocks_[i], 1, rows, cols, maps, made, threads, next);
    rows = p.out_height;
    cols = p.out_width;
    maps = made;
    if (tap < taps_.size() && taps_[tap] == static_cast<int64_t>(i)) {
      add_means(maps, pixels, filters, out);
      out += filters;
      ++tap;
    }
  }
  run_head(maps, rows * cols, out, threads);
}

void require_extents(const Backbone& net, int64_t height, int64_t width) {
  constexpr double kMostFloats = 17179869184.0;  // 2**34
  const double pixels = static_cast<double>(height + 2 * net.stem().size) * static_cast<double>(width + 2 * net.stem().size);
  if (height < 1 || width < 1) refuse("images must have at least one row and one column");
  if (pixels * static_cast<double>(net.stem().filters + net.stem().channels) > kMostFloats) {
    refuse("images must be such that the stem's maps take at most 64 GiB of memory");
  }
}

void run_backbone(const Backbone& net, const Source& x, int64_t images, int64_t height, int64_t width, float* out, int threads) {
  const PlainArithmetic plain;
  const int outer = images >= threads ? threads : 1, inner = images >= threads ? 1 : threads;
  spread(images, outer, [&](int64_t i, Scratch&) {
    Source image = x;
    const int64_t bytes = x.bytes ? 1 : static_cast<int64_t>(sizeof(float));
    image.data = static_cast<const char*>(x.data) + i * x.image_stride * bytes;
    net.run(image, height, width, out + i * net.features(), inner);
  });
}

}  // namespace dcnn
