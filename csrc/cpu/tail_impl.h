// The steps after the convolution: pool, norm, and storing, row by row, for the vector type `Vec` that the including file
// defines.
// Limit: the square roots and divisions of the norm.

#pragma once

#include <math.h>
#include <string.h>

#include "hits_impl.h"
#include "layout_impl.h"

namespace dcnn {
namespace {

// The index of filter f among the padded ones: each group is padded separately.
inline int64_t place_of(const BlockProblem& p, int64_t f) {
  const int64_t per_group = p.group_filters();
  return f / per_group * round_up(per_group, kBlock) + f % per_group;
}

inline bool places_are_filters(const BlockProblem& p) { return p.groups == 1 || p.group_filters() % kBlock == 0; }

template <typename Value>
inline void gather(const BlockProblem& p, const Value* padded, Value* values) {
  if (places_are_filters(p)) {
    memcpy(values, padded, static_cast<size_t>(p.filters) * sizeof(Value));
    return;
  }
  for (int64_t f = 0; f < p.filters; ++f) values[f] = padded[place_of(p, f)];
}

// d^-power of a vector, without a call for the common power 3/4.
inline Vec inverse_power(Vec d, float power) {
  if (power == 0.75f) {
    const Vec root = Vec::sqrt(d);
    return Vec::div(Vec::broadcast(1.0f), Vec::mul(root, Vec::sqrt(root)));
  }
  float lanes[Vec::width];
  d.store(lanes);
  for (int i = 0; i < Vec::width; ++i) lanes[i] = powf(lanes[i], -power);
  return Vec::load(lanes);
}

// The norm across maps at one position, in place. `values` holds the filters without padding between groups, then zeros up to
// `count`, whole vectors; `square` is padded with zeros, so that every norm window sums norm_size terms.
void cross_map_position(const BlockProblem& p, int64_t count, float* values, float* square) {
  const int64_t before = p.norm_size / 2, size = p.norm_size;
  const Vec k = Vec::broadcast(p.norm_k), scale = Vec::broadcast(p.norm_scale);
  const float power = p.norm_power;
  for (int64_t f = 0; f < count; f += Vec::width) {
    const Vec v = Vec::load(values + f);
    Vec::mul(v, v).store(square + before + f);
  }
  for (int64_t f = 0; f < count; f += Vec::width) {
    Vec sum = Vec::load(square + f);
    for (int64_t j = 1; j < size; ++j) sum = Vec::add(sum, Vec::load(square + f + j));
    const Vec d = Vec::add(k, Vec::mul(scale, sum));
    Vec::mul(Vec::load(values + f), inverse_power(d, power)).store(values + f);
  }
}

void cross_map_row(const BlockProblem& p, const Layout& l, float* row, int64_t cols, float* scratch) {
  float* square = scratch + l.square;
  float* values = scratch + l.gathered;
  for (int64_t i = 0; i < l.filters + p.norm_size; ++i) square[i] = 0.0f;
  for (int64_t f = p.filters; f < l.filters; ++f) values[f] = 0.0f;
  for (int64_t x = 0; x < cols; ++x) {
    float* at = row + x * l.filters;
    if (places_are_filters(p)) {
      cross_map_position(p, l.filters, at, square);
      continue;
    }
    gather(p, at, values);
    cross_map_position(p, l.filters, values, square);
    for (int64_t f = 0; f < p.filters; ++f) at[place_of(p, f)] = values[f];
  }
}

// Row y of a same-map norm over `rows` x `cols` positions; row i lies in a ring at (i + shift) % depth.
void same_map_row(const BlockProblem& p, const Layout& l, const float* ring, int64_t depth, int64_t shift, int64_t y,
                  int64_t rows, int64_t cols, float* out) {
  const int64_t before = p.norm_size / 2;
  const int64_t y0 = y - before < 0 ? 0 : y - before;
  const int64_t y1 = y - before + p.norm_size > rows ? rows : y - before + p.norm_size;
  const int64_t row = cols * l.filters;
  for (int64_t x = 0; x < cols; ++x) {
    const int64_t x0 = x - before < 0 ? 0 : x - before;
    const int64_t x1 = x - before + p.norm_size > cols ? cols : x - before + p.norm_size;
    const float* centre = ring + (y + shift) % depth * row + x * l.filters;
    for (int64_t f = 0; f < l.filters; f += Vec::width) {
      Vec sum = Vec::zero();
      for (int64_t i = y0; i < y1; ++i) {
        for (int64_t j = x0; j < x1; ++j) {
          const Vec v = Vec::load(ring + (i + shift) % depth * row + j * l.filters + f);
          sum = Vec::add(sum, Vec::mul(v, v));
        }
      }
      const Vec d = Vec::add(Vec::broadcast(1.0f), Vec::mul(Vec::broadcast(p.norm_scale), sum));
      Vec::mul(Vec::load(centre + f), inverse_power(d, p.norm_power)).store(out + x * l.filters + f);
    }
  }
}

// Pooled row k of a piece. Takes a few conv rows at a time, so that a position's filters stay in registers.
template <bool kAverage>
void pool_row_by(const BlockProblem& p, const RegionRow& r, const Layout& l, const PieceRow& piece, const float* ring, int64_t k,
              float* out) {
  constexpr int64_t kAtOnce = 8;
  const int64_t first = piece.top + k * p.pool_stride, last = smaller(first + p.pool_size, r.rows);
  for (int64_t y = first; y < last; y += kAtOnce) {
    const float* rows[kAtOnce];
    const int64_t count = smaller(last - y, kAtOnce);
    for (int64_t i = 0; i < count; ++i) rows[i] = ring + ring_row(l, y + i, l.ring) * r.cols * l.filters;
    for (int64_t j = 0; j < piece.cols; ++j) {
      const int64_t x0 = piece.left + j * p.pool_stride, x1 = smaller(x0 + p.pool_size, r.cols);
      for (int64_t f = 0; f < l.filters; f += Vec::width) {
        float* to = out + j * l.filters + f;
        Vec best = y > first ? Vec::load(to) : kAverage ? Vec::zero() : Vec::load(rows[0] + x0 * l.filters + f);
        for (int64_t i = 0; i < count; ++i) {
          for (int64_t x = x0; x < x1; ++x) {
            const Vec v = Vec::load(rows[i] + x * l.filters + f);
            best = kAverage ? Vec::add(best, v) : Vec::larger(best, v);
          }
        }
        if (kAverage && y + kAtOnce >= last) best = Vec::div(best, Vec::broadcast(static_cast<float>((last - first) * (x1 - x0))));
        best.store(to);
      }
    }
  }
}

void pool_row(const BlockProblem& p, const RegionRow& r, const Layout& l, const PieceRow& piece, const float* ring, int64_t k,
              float* out) {
  p.pool_average ? pool_row_by<true>(p, r, l, piece, ring, k, out) : pool_row_by<false>(p, r, l, piece, ring, k, out);
}

// Records pooled row k for a backward; `row` holds it before any norm.
void record_row(const BlockProblem& p, const RegionRow& r, const Layout& l, const PieceRow& piece, const float* ring, int64_t k,
                const float* row, uint16_t* hits) {
  const int64_t first = (r.image * piece.rows + k) * piece.cols;
  for (int64_t j = 0; p.values != nullptr && j < piece.cols; ++j) gather(p, row + j * l.filters, p.values + (first + j) * p.filters);
  if (p.hits == nullptr) return;
  const int64_t top = k * p.pool_stride, rows = smaller(p.pool_size, r.rows - top);
  for (int64_t j = 0; j < piece.cols; ++j) {
    const int64_t left = j * p.pool_stride, cols = smaller(p.pool_size, r.cols - left);
    for (int64_t f = 0; f < l.filters; f += Vec::width) {
      const Vec best = Vec::load(row + j * l.filters + f);
      Bits bits{};
      for (int64_t i = 0; i < rows; ++i) {
        const float* from = ring + (ring_row(l, top + i, l.ring) * r.cols + left) * l.filters + f;
        for (int64_t x = 0; x < cols; ++x) {
          bits |= equal(Vec::load(from + x * l.filters), best) & (1 << (i * p.pool_size + x));
        }
      }
      store_bits(bits & positive(best), hits + f);
    }
    gather(p, hits, p.hits + (first + j) * p.filters);
  }
}

// Writes row k of a piece's results to its stores, through the ReLU where that comes last.
void store_row(const BlockProblem& p, const Layout& l, const PieceRow& piece, int64_t k, float* row) {
  for (int64_t i = 0; p.relu_last && i < piece.cols * l.filters; i += Vec::width) Vec::relu(Vec::load(row + i)).store(row + i);
  for (int64_t i = 0; i < piece.count; ++i) {
    const StoreRow& store = p.stores[piece.first + i];
    if (k < store.skip_top || k >= store.skip_top + store.height) continue;
    const Output& o = p.outputs[store.output];
    const int64_t y = store.out_top + k - store.skip_top;
    const float* from = row + store.skip_left * l.filters;
    float* to = o.data + ((store.image * o.height + y) * o.width + store.out_left) * p.filters;
    if (l.filters == p.filters) {
      memcpy(to, from, static_cast<size_t>(store.width * p.filters) * sizeof(float));
      continue;
    }
    for (int64_t j = 0; j < store.width; ++j, from += l.filters, to += p.filters) gather(p, from, to);
  }
}

// Finishes pooled row k of a piece, whose rows lie in a ring at `pooled`: the norm after the pool, and storing.
void finish_row(const BlockProblem& p, const Layout& l, const PieceRow& piece, int64_t k, float* pooled, float* scratch) {
  if (!norm_after_pool(p, Norm::same_map)) {
    if (norm_after_pool(p, Norm::cross_map)) cross_map_row(p, l, pooled, piece.cols, scratch);
    store_row(p, l, piece, k, pooled);
    return;
  }
  const int64_t after = p.norm_size - 1 - p.norm_size / 2;
  const int64_t last = k == piece.rows - 1 ? k : k - after;  // the last row with a complete norm window
  for (int64_t j = k - after < 0 ? 0 : k - after; j <= last; ++j) {
    same_map_row(p, l, pooled, pooled_depth(p, piece), 0, j, piece.rows, piece.cols, scratch + l.normed);
    store_row(p, l, piece, j, scratch + l.normed);
  }
}

// Takes row y of the pool's input, now in the ring: pools every pool window that ends with it, and after the last row all that
// remain.
void feed(const BlockProblem& p, const RegionRow& r, const Layout& l, int64_t y, float* scratch) {
  float* pooled = scratch + l.pooled;
  for (int64_t i = 0; i < r.count; ++i) {
    const PieceRow& piece = p.pieces[r.first + i];
    const int64_t row = piece.cols * l.filters, depth = pooled_depth(p, piece);
    const int64_t past = y - piece.top - p.pool_size + 1;  // pool window k ends with row y when this is k strides
    int64_t k = past <= 0 ? 0 : (past + p.pool_stride - 1) / p.pool_stride;
    const int64_t end = y == r.rows - 1 ? piece.rows : (past >= 0 && past % p.pool_stride == 0 ? k + 1 : k);
    for (; k < end && k < piece.rows; ++k) {
      float* out = pooled + (k % depth) * row;
      pool_row(p, r, l, piece, scratch + l.ring_at, k, out);
      if (p.hits != nullptr || p.values != nullptr) {
        record_row(p, r, l, piece, scratch + l.ring_at, k, out, reinterpret_cast<uint16_t*>(scratch + l.hits));
      }
      finish_row(p, l, piece, k, norm_after_pool(p, Norm::same_map) ? pooled : out, scratch);
    }
    pooled += depth * row;
  }
}
}  // namespace
}  // namespace dcnn
