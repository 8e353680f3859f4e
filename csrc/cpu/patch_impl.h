// The pixels that a region's convolutions read, for the vector type `Vec` that the including file defines. Limit: memory.

#pragma once

#include <string.h>

#include "layout_impl.h"

namespace dcnn {
namespace {

// `count` contiguous values, each with its own mean: (value - mean) * scale.
template <typename Conv, typename Value>
void fill_together(const BlockProblem& p, const Value* from, const float* mean, int64_t count, typename Conv::Element* to) {
  const float scale = p.scale;
  const bool bf16 = p.precision == Precision::bf16;
  for (int64_t i = 0; i < count; ++i) Conv::put((static_cast<float>(from[i]) - mean[i]) * scale, bf16, to + i);
}

// `count` pixels of `channels` values: (value - mean) * scale.
template <typename Conv, typename Value>
void fill_pixels(const BlockProblem& p, const Value* from, int64_t channel_stride, int64_t col_stride, int64_t count,
                 typename Conv::Element* to) {
  const bool bf16 = p.precision == Precision::bf16;
  for (int64_t x = 0; x < count; ++x, from += col_stride, to += p.channels) {
    for (int64_t c = 0; c < p.channels; ++c) {
      Conv::put((static_cast<float>(from[c * channel_stride]) - p.mean[c]) * p.scale, bf16, to + c);
    }
  }
}

inline bool mean_is_zero(const BlockProblem& p) {
  for (int64_t c = 0; c < p.channels; ++c) {
    if (p.mean[c] != 0.0f) return false;
  }
  return true;
}

// The pixels that the region's convolutions read: (pixel - mean) * scale inside its window, zero outside.
template <typename Conv>
void fill_patch(const BlockProblem& p, const RegionRow& r, const Layout& l, float* means, typename Conv::Element* patch) {
  const Source& s = p.sources[r.source];
  const bool together = s.channel_stride == 1 && s.col_stride == p.channels;
  const bool plain = !s.bytes && together && p.scale == 1.0f && mean_is_zero(p);
  for (int64_t i = 0; together && !plain && i < l.patch_cols * p.channels; ++i) means[i] = p.mean[i % p.channels];
  const int64_t before = r.window_left - l.patch_left, end = before + r.window_width;
  const int64_t x0 = before > 0 ? before : 0, x1 = end < l.patch_cols ? end : l.patch_cols;
  for (int64_t y = 0; y < l.patch_rows; ++y) {
    typename Conv::Element* row = patch + y * l.patch_cols * p.channels;
    const int64_t sy = l.patch_top + y;
    if (sy < r.window_top || sy >= r.window_top + r.window_height || x0 >= x1) {
      memset(row, 0, static_cast<size_t>(l.patch_cols * p.channels) * sizeof *row);
      continue;
    }
    memset(row, 0, static_cast<size_t>(x0 * p.channels) * sizeof *row);
    memset(row + x1 * p.channels, 0, static_cast<size_t>((l.patch_cols - x1) * p.channels) * sizeof *row);
    const int64_t at = r.image * s.image_stride + sy * s.row_stride + (l.patch_left + x0) * s.col_stride;
    row += x0 * p.channels;
    const int64_t count = (x1 - x0) * p.channels;
    if (s.bytes && together) {
      fill_together<Conv>(p, static_cast<const uint8_t*>(s.data) + at, means, count, row);
    } else if (s.bytes) {
      fill_pixels<Conv>(p, static_cast<const uint8_t*>(s.data) + at, s.channel_stride, s.col_stride, x1 - x0, row);
    } else if (plain) {
      const float* from = static_cast<const float*>(s.data) + at;
      for (int64_t i = 0; i < count; ++i) Conv::put(from[i], p.precision == Precision::bf16, row + i);
    } else if (together) {
      fill_together<Conv>(p, static_cast<const float*>(s.data) + at, means, count, row);
    } else {
      fill_pixels<Conv>(p, static_cast<const float*>(s.data) + at, s.channel_stride, s.col_stride, x1 - x0, row);
    }
  }
}
}  // namespace
}  // namespace dcnn
