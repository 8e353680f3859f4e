// The fused block over one region, for the vector type `Vec` that the including file defines.
//
// Conv rows live in a ring as deep as the pool window (and the same-map norm's, when it comes first), so the convolution's
// output never leaves the cache. Memory per region: the padded input patch, the ring, and one pooled row per piece (for a
// same-map norm, as many rows as its size). The convolution decides tile and limit: conv_impl.h, winograd_impl.h,
// amx_conv_impl.h.

#pragma once

#include "conv_impl.h"
#include "layout_impl.h"
#include "patch_impl.h"
#include "tail_impl.h"
#include "winograd_impl.h"
#ifdef DCNN_TILES
#include "amx_conv_impl.h"
#endif

namespace dcnn {
namespace {

template <typename Conv>
void run_region_with(const BlockProblem& p, const RegionRow& r, float* scratch) {
  const Layout l = layout_of<Conv>(p, r);
  const int64_t row = r.cols * l.filters;
  const bool normed = norm_before_pool(p, Norm::same_map);
  const int64_t after = p.norm_size - 1 - p.norm_size / 2;
  auto* patch = reinterpret_cast<typename Conv::Element*>(scratch + l.patch);
  fill_patch<Conv>(p, r, l, scratch + l.means, patch);
  for (int64_t start = -l.shift; start < r.rows;) {
    const int64_t ring = normed ? l.raw_ring : l.ring;
    float* out = scratch + (normed ? l.raw : l.ring_at) + ring_row(l, start, ring) * row;
    const int64_t stop = smaller(start + Conv::rows(p, r, l, patch, start, out, scratch + l.work), r.rows);
    for (int64_t y = start < 0 ? 0 : start; y < stop; ++y) {
      if (!normed) {
        if (norm_before_pool(p, Norm::cross_map)) cross_map_row(p, l, out + (y - start) * row, r.cols, scratch);
        feed(p, r, l, y, scratch);
        continue;
      }
      const int64_t last = y == r.rows - 1 ? y : y - after;
      for (int64_t i = y - after < 0 ? 0 : y - after; i <= last; ++i) {
        float* to = scratch + l.ring_at + ring_row(l, i, l.ring) * row;
        same_map_row(p, l, scratch + l.raw, l.raw_ring, l.shift, i, r.rows, r.cols, to);
        feed(p, r, l, i, scratch);
      }
    }
    start = stop;
  }
}

// Calls `use` with the problem's convolution.
template <typename Use>
auto with_conv(const BlockProblem& p, const Use& use) {
  switch (winograd_taps(p, kBf16)) {
    case 3: return use(Winograd<6, 4>{});
    case 5: return use(Winograd<8, 4>{});
    case 6: return use(Winograd<8, 3>{});
    default: break;
  }
#ifdef DCNN_TILES
  if (p.precision == Precision::bf16x3) return use(InTileUnit<Split>{});
  if (p.precision == Precision::bf16) return use(InTileUnit<Rounded>{});
#endif
#ifdef DCNN_BF16_PAIRS
  if (p.precision == Precision::bf16) return use(Direct<Pairs>{});
#endif
  return use(Direct<Single>{});
}

size_t region_scratch(const BlockProblem& p, const RegionRow& r) {
  return with_conv(p, [&](auto conv) { return static_cast<size_t>(layout_of<decltype(conv)>(p, r).total); });
}

void run_region(const BlockProblem& p, const RegionRow& r, float* scratch) {
  with_conv(p, [&](auto conv) { run_region_with<decltype(conv)>(p, r, scratch); });
}

}  // namespace
}  // namespace dcnn
