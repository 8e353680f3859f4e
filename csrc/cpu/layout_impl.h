// Where a region's data lies in its scratch, for the vector type `Vec` that the including file defines.
//
// A convolution is a type with these members; `Direct` in conv_impl.h is the plainest:
//   Element                     what the patch holds
//   put(value, bf16, to)        a value of the patch
//   Frame frame(p, r)           which conv rows are computed together, and which pixels that takes
//   work(p, r)                  floats of scratch of its own
//   rows(p, r, l, patch, y, out, work)
//                               conv rows from y on, bias and ReLU included, go to `out`, row after row; returns their number

#pragma once

#include "kernel.h"

namespace dcnn {
namespace {

constexpr int64_t kBlock = 2 * Vec::width;

// How a convolution cuts a region up. Conv row y lies in the ring at (y + shift) % ring. `rows` is called for whole groups, whose
// first rows have y + shift at multiples of `together`; `frame.shift` rows before the first and those past the last are not used.
struct Frame {
  int64_t together, shift;
  int64_t patch_top, patch_left, patch_rows, patch_cols;  // pixels of the source
};

struct Layout : Frame {
  int64_t filters;  // padded: a position's stride in rows of activations
  int64_t raw_ring, ring;
  int64_t means, patch, raw, ring_at, square, gathered, pooled, normed, hits, work;  // offsets into the scratch, in floats
  int64_t total;
};

inline bool norm_before_pool(const BlockProblem& p, Norm kind) { return p.norm == kind && p.norm_first; }
inline bool norm_after_pool(const BlockProblem& p, Norm kind) { return p.norm == kind && !p.norm_first; }

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// Pooled rows a piece keeps: as many as a same-map norm that follows the pool looks at.
inline int64_t pooled_depth(const BlockProblem& p, const PieceRow& piece) {
  return norm_after_pool(p, Norm::same_map) ? smaller(p.norm_size, piece.rows) : 1;
}

// Rings are multiples of `together`, so that they never wrap inside a group.
template <typename Conv>
Layout layout_of(const BlockProblem& p, const RegionRow& r) {
  Layout l{};
  static_cast<Frame&>(l) = Conv::frame(p, r);
  l.filters = padded_filters(p, kBlock);
  l.raw_ring = norm_before_pool(p, Norm::same_map) ? round_up(smaller(p.norm_size, r.rows) - 1 + l.together, l.together) : 0;
  l.ring = round_up(smaller(p.pool_size, r.rows) - 1 + l.together, l.together);
  const int64_t row = r.cols * l.filters;
  int64_t pooled = 0, widest = 0;
  for (int64_t i = 0; i < r.count; ++i) {
    const int64_t floats = p.pieces[r.first + i].cols * l.filters;
    pooled += pooled_depth(p, p.pieces[r.first + i]) * floats;
    widest = floats > widest ? floats : widest;
  }
  int64_t at = 0;
  const auto take = [&at](int64_t floats) {
    const int64_t start = at;
    at += round_up(floats, 16);
    return start;
  };
  l.means = take(l.patch_cols * p.channels);
  l.patch = take(l.patch_rows * l.patch_cols * p.channels);
  l.raw = take(l.raw_ring * row);
  l.ring_at = take(l.ring * row);
  l.square = take(l.filters + p.norm_size);
  l.gathered = take(l.filters);
  l.pooled = take(pooled);
  l.normed = take(norm_after_pool(p, Norm::same_map) ? widest : 0);
  l.hits = take(p.hits == nullptr ? 0 : l.filters);
  l.work = take(Conv::work(p, r));
  l.total = at;
  return l;
}

inline int64_t ring_row(const Layout& l, int64_t y, int64_t depth) { return (y + l.shift) % depth; }

}  // namespace
}  // namespace dcnn
