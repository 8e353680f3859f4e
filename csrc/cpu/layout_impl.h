// The layout of a region's scratch, for the vector type `Vec` that the including file defines.
//
// A convolution is a type with these members; `Direct` in conv_impl.h is the simplest:
//   Element                     the type of the patch's values
//   put(value, bf16, to)        stores a value of the patch
//   Frame frame(p, r)           the conv rows computed together, and the pixels they need
//   work(p, r)                  floats of the convolution's own scratch
//   rows(p, r, l, patch, y, out, work)
//                               writes conv rows from y on, bias and ReLU included, to `out`; returns their number

#pragma once

#include "kernel.h"

namespace dcnn {
namespace {

constexpr int64_t kBlock = 2 * Vec::width;

// How a convolution divides a region. Conv row y lies in the ring at (y + shift) % ring. `rows` computes whole groups, whose
// first rows have y + shift at multiples of `together`; the `shift` rows before the first row and those past the last are not
// used.
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

// The pooled rows that a piece keeps: those that a same-map norm after the pool reads.
inline int64_t pooled_depth(const BlockProblem& p, const PieceRow& piece) {
  return norm_after_pool(p, Norm::same_map) ? smaller(p.norm_size, piece.rows) : 1;
}

// Ring sizes are multiples of `together`, so a group never wraps around.
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
