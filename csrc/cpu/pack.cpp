#include "pack.h"

#include <algorithm>
#include <cstring>
#include <list>
#include <mutex>
#include <utility>
#include <vector>

#include "filter_transform.h"
#include "tile_steps.h"

namespace dcnn {
namespace {

// Packs pairs of bfloat16 in place of floats: consecutive products of each run, two by two, the first in the lower half.
Buffer pack_pairs(const Isa& isa, const BlockProblem& p, const float* weight) {
  const int64_t block = isa.filter_block, per_group = p.group_filters(), taps = p.size * p.size;
  const int64_t blocks = round_up(per_group, block) / block, channels = p.group_channels();
  const int64_t runs = p.groups == 1 ? p.size : taps, run = taps * channels / runs, steps = (run + 1) / 2;
  Buffer packed = Buffer::zeros(static_cast<size_t>(p.groups * blocks * runs * steps * block));
  auto* halves = reinterpret_cast<unsigned char*>(packed.data());
  for (int64_t f = 0; f < p.filters; ++f) {
    const int64_t within = f % per_group;
    const int64_t first = (f / per_group * blocks + within / block) * runs * steps * block + within % block;
    for (int64_t k = 0; k < taps * channels; ++k) {  // taps, then channels
      const uint16_t value = to_bf16(weight[(f * channels + k % channels) * taps + k / channels]);
      const int64_t at = first + (k / run * steps + k % run / 2) * block;
      std::memcpy(halves + at * 4 + k % run % 2 * 2, &value, sizeof value);
    }
  }
  return packed;
}

// Packs filters for winograd_impl.h: for each pair of points, the filters of a block side by side, channel after channel;
// channels are those of the images of every stride-th pixel, [stride, stride, channels].
Buffer pack_winograd(const Isa& isa, const BlockProblem& p, const float* weight) {
  const int64_t block = isa.filter_block, per_group = p.group_filters(), size = p.size, taps = winograd_taps(p, isa.bf16);
  const int64_t blocks = round_up(per_group, block) / block, channels = p.group_channels(), all = channels * p.stride * p.stride;
  const bool bf16 = p.precision == Precision::bf16;
  const FilterTransform transform(taps);
  const int64_t points = transform.points;
  Buffer packed = Buffer::zeros(static_cast<size_t>(p.groups * blocks * points * points * all * block));
  for (int64_t at = 0; at < p.groups * blocks * all; ++at) {
    const int64_t owner = at / all, c = at % all;
    const int64_t phase_y = c / (p.stride * channels), phase_x = c / channels % p.stride;
    const int64_t first = owner / blocks * per_group + owner % blocks * block;
    const int64_t count = std::min(block, (owner / blocks + 1) * per_group - first);
    // Filters are the innermost loop, so that writes are contiguous.
    for (int64_t f = 0; f < count; ++f) {
      const float* from = weight + ((first + f) * channels + c % channels) * size * size;
      double down[6][8] = {};
      for (int64_t y = phase_y, k = 0; y < size; y += p.stride, ++k) {
        for (int64_t x = phase_x, j = 0; x < size; x += p.stride, ++j) {
          const float value = from[y * size + x];
          const double tap = bf16 ? from_bf16(to_bf16(value)) : value;
          for (int64_t i = 0; i < 8; ++i) down[j][i] += transform.values[k][i] * tap;
        }
      }
      float* to = packed.data() + (owner * points * points * all + c) * block + f;
      for (int64_t i = 0; i < points; ++i) {
        double sums[8] = {};
        for (int64_t x = 0; x < taps; ++x) {
          for (int64_t j = 0; j < 8; ++j) sums[j] += down[x][i] * transform.values[x][j];
        }
        for (int64_t j = 0; j < points; ++j) to[(i * points + j) * all * block] = static_cast<float>(sums[j]);
      }
    }
  }
  return packed;
}

// Packs tiles of the tile unit's right operand: for each block, the steps of tile_steps.h, two tiles of 16 filters each; with
// parts, a block's higher parts before its lower ones.
Buffer pack_tiles(const Isa& isa, const BlockProblem& p, const float* weight) {
  const TileSteps s = tile_steps(p);
  const int64_t block = isa.filter_block, per_group = p.group_filters(), blocks = round_up(per_group, block) / block;
  const int64_t taps = p.size * p.size, channels = p.group_channels(), parts = p.precision == Precision::bf16x3 ? 2 : 1;
  const int64_t tile = 16 * kTileDepth, part = s.steps() * block / 16 * tile;
  Buffer packed = Buffer::zeros(static_cast<size_t>(p.groups * blocks * parts * part / 2));
  auto* halves = reinterpret_cast<unsigned char*>(packed.data());
  for (int64_t f = 0; f < p.filters; ++f) {
    const int64_t within = f % per_group % block;
    const int64_t first = (f / per_group * blocks + f % per_group / block) * parts * part + within / 16 * tile + within % 16 * 2;
    for (int64_t step = 0; step < s.steps(); ++step) {
      for (int64_t i = 0; i < kTileDepth; ++i) {
        const int64_t k = tile_product(s, step, i);  // over taps, then channels
        if (k < 0) continue;
        const float value = weight[(f * channels + k % channels) * taps + k / channels];
        const int64_t at = first + step * block / 16 * tile + i / 2 * 32 + i % 2;
        uint16_t high, low;
        split_bf16(value, &high, &low);  // the higher part is the rounded value
        std::memcpy(halves + at * 2, &high, sizeof high);
        if (parts > 1) std::memcpy(halves + (at + part) * 2, &low, sizeof low);
      }
    }
  }
  return packed;
}

Buffer pack_weight(const Isa& isa, const BlockProblem& p, const float* weight) {
  if (winograd_taps(p, isa.bf16) != 0) return pack_winograd(isa, p, weight);
  const bool bf16 = p.precision == Precision::bf16;
  if (p.precision != Precision::ieee && isa.bf16 == Bf16::tiles) return pack_tiles(isa, p, weight);
  if (bf16 && isa.bf16 == Bf16::pairs) return pack_pairs(isa, p, weight);
  const int64_t block = isa.filter_block, per_group = p.group_filters(), run = p.group_channels();
  const int64_t blocks = round_up(per_group, block) / block, taps = p.size * p.size;
  Buffer packed = Buffer::zeros(static_cast<size_t>(p.groups * blocks * taps * run * block));
  for (int64_t f = 0; f < p.filters; ++f) {
    const int64_t within = f % per_group;
    float* to = packed.data() + (f / per_group * blocks + within / block) * taps * run * block + within % block;
    for (int64_t tap = 0; tap < taps; ++tap) {
      for (int64_t c = 0; c < run; ++c) {
        const float value = weight[(f * run + c) * taps + tap];
        to[(tap * run + c) * block] = bf16 ? from_bf16(to_bf16(value)) : value;
      }
    }
  }
  return packed;
}

Buffer pack_bias(const Isa& isa, const BlockProblem& p, const float* bias) {
  const int64_t per_group = p.group_filters(), padded = round_up(per_group, isa.filter_block);
  Buffer packed = Buffer::zeros(static_cast<size_t>(p.groups * padded));
  for (int64_t f = 0; bias != nullptr && f < p.filters; ++f) {
    packed.data()[f / per_group * padded + f % per_group] = bias[f];
  }
  return packed;
}

int64_t weights_of(const BlockProblem& p) { return p.filters * p.group_channels() * p.size * p.size; }

// Reorders [filters, size, size, channels] to contiguous [filters, channels, size, size].
std::vector<float> channels_first(const BlockProblem& p, const float* weight) {
  const int64_t channels = p.group_channels(), taps = p.size * p.size;
  std::vector<float> ordered(static_cast<size_t>(weights_of(p)));
  for (int64_t f = 0; f < p.filters; ++f) {
    const int64_t first = f * channels * taps;
    for (int64_t tap = 0; tap < taps; ++tap) {
      for (int64_t c = 0; c < channels; ++c) ordered[static_cast<size_t>(first + c * taps + tap)] = weight[first + tap * channels + c];
    }
  }
  return ordered;
}

// Recently packed weights, the most recent first.
class Cache {
 public:
  std::shared_ptr<const Packed> find(const Isa& isa, const BlockProblem& p, const Weights& weights) {
    const std::lock_guard<std::mutex> lock(guard_);
    const auto hit = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.is(isa, p, weights); });
    if (hit == entries_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, hit);
    return hit->packed;
  }

  void keep(const Isa& isa, const BlockProblem& p, const Weights& weights, std::shared_ptr<const Packed> packed) {
    Entry entry(isa, p, weights, std::move(packed));
    const std::lock_guard<std::mutex> lock(guard_);
    entries_.push_front(std::move(entry));
    size_t floats = 0;
    for (auto at = entries_.begin(); at != entries_.end();) {
      floats += at->floats();
      at = floats > kFloats && at != entries_.begin() ? entries_.erase(at) : std::next(at);
    }
  }

  void lock() { guard_.lock(); }
  void unlock() { guard_.unlock(); }

 private:
  static constexpr size_t kFloats = size_t{16} << 20;  // 64 MiB: the blocks of a few networks

  struct Entry {
    const Isa* isa;
    int64_t filters, channels, size, stride, groups;
    Precision precision;
    bool taps_only, channels_last;
    std::vector<float> weight, bias;  // in the caller's order
    std::shared_ptr<const Packed> packed;

    Entry(const Isa& i, const BlockProblem& p, const Weights& w, std::shared_ptr<const Packed> made)
        : isa(&i), filters(p.filters), channels(p.channels), size(p.size), stride(p.stride), groups(p.groups), precision(p.precision),
          taps_only(p.taps_only), channels_last(w.channels_last), weight(w.weight, w.weight + weights_of(p)),
          bias(w.bias, w.bias + (w.bias == nullptr ? 0 : p.filters)), packed(std::move(made)) {}

    size_t floats() const { return weight.size() + bias.size() + packed->weight.size() + packed->bias.size(); }

    // Compares values, not addresses: the memory at an address may have been rewritten.
    bool is(const Isa& i, const BlockProblem& p, const Weights& w) const {
      return isa == &i && filters == p.filters && channels == p.channels && size == p.size && stride == p.stride &&
             groups == p.groups && precision == p.precision && taps_only == p.taps_only && channels_last == w.channels_last &&
             bias.empty() == (w.bias == nullptr) && std::memcmp(weight.data(), w.weight, weight.size() * sizeof(float)) == 0 &&
             (w.bias == nullptr || std::memcmp(bias.data(), w.bias, bias.size() * sizeof(float)) == 0);
    }
  };

  std::mutex guard_;
  std::list<Entry> entries_;
};

// Created when the engine is loaded and never destroyed. A static created on first use has a hidden lock, which a fork could
// leave locked for ever.
Cache& cache = *new Cache;

}  // namespace

std::shared_ptr<const Packed> pack_weights(const Isa& isa, const BlockProblem& p, const Weights& weights) {
  std::vector<float> ordered;
  if (weights.channels_last) ordered = channels_first(p, weights.weight);
  const float* weight = weights.channels_last ? ordered.data() : weights.weight;
  return std::make_shared<const Packed>(Packed{pack_weight(isa, p, weight), pack_bias(isa, p, weights.bias)});
}

std::shared_ptr<const Packed> packed_weights(const Isa& isa, const BlockProblem& p, const Weights& weights) {
  if (auto found = cache.find(isa, p, weights)) return found;
  auto made = pack_weights(isa, p, weights);
  cache.keep(isa, p, weights, made);
  return made;
}

std::vector<float> input_filters(const BlockProblem& p, const Weights& weights) {
  const int64_t channels = p.group_channels(), filters = p.group_filters(), size = p.size, stride = p.stride;
  const int64_t taps = (size + stride - 1) / stride;
  const bool bf16 = p.precision == Precision::bf16;
  std::vector<float> ordered;
  if (weights.channels_last) ordered = channels_first(p, weights.weight);
  const float* from = weights.channels_last ? ordered.data() : weights.weight;
  std::vector<float> found(static_cast<size_t>(p.channels * stride * stride * filters * taps * taps), 0.0f);
  for (int64_t f = 0; f < p.filters; ++f) {
    const int64_t group = f / filters;
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t y = 0; y < size; ++y) {
        for (int64_t x = 0; x < size; ++x, ++from) {
          const int64_t phase = (group * stride + y % stride) * stride + x % stride;
          const int64_t row = taps - 1 - y / stride, col = taps - 1 - x / stride;
          const int64_t at = ((phase * channels + c) * filters + f % filters) * taps * taps + row * taps + col;
          found[static_cast<size_t>(at)] = bf16 ? from_bf16(to_bf16(*from)) : *from;
        }
      }
    }
  }
  return found;
}

void lock_packed_weights() { cache.lock(); }

void unlock_packed_weights() { cache.unlock(); }

}  // namespace dcnn
