// The fused block over one region, for the vector type `Vec` that the including file defines.
//
// Tile: kPositions positions x 2 vectors of filters in registers, kPositions as the including file defines it; K runs over ky,
// kx, c in that order with one accumulator, so an output's bits are the same wherever it is computed. Positions lie along a row
// or, in a narrow region, in a few rows below each other. Conv rows live in a ring as deep as the pool window (and the same-map
// norm's, when it comes first), so the convolution's output never leaves the cache.
// Memory per region: the padded input patch, the ring, one pooled row per piece (norm size of them for a same-map norm).
// Limit: multiply-adds. On Zen 4 in fp32 89 % (11 x 11 x 3, stride 2) and 95 % (5 x 5 x 64) of the rate in registers; shared
// regions with their rims 79 to 94 % (docs/engine-notes.md).

#include <math.h>
#include <string.h>

#include "kernel.h"

namespace dcnn {
namespace {

constexpr int64_t kBlock = 2 * Vec::width;

struct Layout {
  int64_t filters;  // padded: a position's stride in rows of activations
  int64_t patch_rows, patch_cols, raw_ring, ring;
  int64_t together;  // conv rows computed at once; rings are multiples of it, so that they never wrap inside a group
  int64_t means, patch, raw, ring_at, square, gathered, pooled, normed;  // offsets into the scratch, in floats
  int64_t total;
};

inline bool norm_before_pool(const BlockProblem& p, Norm kind) { return p.norm == kind && p.norm_first; }
inline bool norm_after_pool(const BlockProblem& p, Norm kind) { return p.norm == kind && !p.norm_first; }

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// Pooled rows a piece keeps: as many as a same-map norm that follows the pool looks at.
inline int64_t pooled_depth(const BlockProblem& p, const PieceRow& piece) {
  return norm_after_pool(p, Norm::same_map) ? smaller(p.norm_size, piece.rows) : 1;
}

// Conv rows that a region of so many columns computes at once.
inline int64_t rows_together(int64_t cols) { return cols > kPositions / 2 ? 1 : kPositions / cols; }

Layout layout_of(const BlockProblem& p, const RegionRow& r) {
  Layout l{};
  l.filters = padded_filters(p, kBlock);
  l.patch_rows = (r.rows - 1) * p.stride + p.size;
  l.patch_cols = (r.cols - 1) * p.stride + p.size;
  l.together = rows_together(r.cols);
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
  l.total = at;
  return l;
}

size_t region_scratch(const BlockProblem& p, const RegionRow& r) { return static_cast<size_t>(layout_of(p, r).total); }

// How products are formed. A patch holds `Element`s; one step takes `kDepth` consecutive ones.
struct Single {
  typedef float Element;
  static constexpr int kDepth = 1;
  static void put(float value, bool bf16, float* to) { *to = bf16 ? from_bf16(to_bf16(value)) : value; }
  static Vec spread(const float* from) { return Vec::broadcast(*from); }
  static Vec spread_rest(const float* from) { return Vec::broadcast(*from); }
  static Vec add(Vec x, Vec w, Vec sum) { return Vec::fma(x, w, sum); }
};

#ifdef DCNN_BF16_PAIRS
struct Pairs {
  typedef uint16_t Element;
  static constexpr int kDepth = 2;
  static void put(float value, bool, uint16_t* to) { *to = to_bf16(value); }
  static Vec spread(const uint16_t* from) {
    uint32_t both;
    memcpy(&both, from, sizeof both);
    return Vec::broadcast_bits(both);
  }
  static Vec spread_rest(const uint16_t* from) { return Vec::broadcast_bits(*from); }  // the other one is not the run's
  static Vec add(Vec x, Vec w, Vec sum) { return Vec::dot(x, w, sum); }
};
#endif

// `count` values that lie together, with a mean for each: (value - mean) * scale.
template <typename Products, typename Value>
void fill_together(const BlockProblem& p, const Value* from, const float* mean, int64_t count, typename Products::Element* to) {
  const float scale = p.scale;
  const bool bf16 = p.bf16;
  for (int64_t i = 0; i < count; ++i) Products::put((static_cast<float>(from[i]) - mean[i]) * scale, bf16, to + i);
}

// `count` pixels of `channels` values, (value - mean) * scale each.
template <typename Products, typename Value>
void fill_pixels(const BlockProblem& p, const Value* from, int64_t channel_stride, int64_t col_stride, int64_t count,
                 typename Products::Element* to) {
  for (int64_t x = 0; x < count; ++x, from += col_stride, to += p.channels) {
    for (int64_t c = 0; c < p.channels; ++c) {
      Products::put((static_cast<float>(from[c * channel_stride]) - p.mean[c]) * p.scale, p.bf16, to + c);
    }
  }
}

inline bool mean_is_zero(const BlockProblem& p) {
  for (int64_t c = 0; c < p.channels; ++c) {
    if (p.mean[c] != 0.0f) return false;
  }
  return true;
}

// The pixels the region's convolutions read, (pixel - mean) * scale inside its window and zero outside.
template <typename Products>
void fill_patch(const BlockProblem& p, const RegionRow& r, const Layout& l, float* means, typename Products::Element* patch) {
  const Source& s = p.sources[r.source];
  const bool together = s.channel_stride == 1 && s.col_stride == p.channels;
  const bool plain = !s.bytes && together && p.scale == 1.0f && mean_is_zero(p);
  for (int64_t i = 0; together && !plain && i < l.patch_cols * p.channels; ++i) means[i] = p.mean[i % p.channels];
  const int64_t before = r.window_left - r.left, end = before + r.window_width;
  const int64_t x0 = before > 0 ? before : 0, x1 = end < l.patch_cols ? end : l.patch_cols;
  for (int64_t y = 0; y < l.patch_rows; ++y) {
    typename Products::Element* row = patch + y * l.patch_cols * p.channels;
    const int64_t sy = r.top + y;
    if (sy < r.window_top || sy >= r.window_top + r.window_height || x0 >= x1) {
      memset(row, 0, static_cast<size_t>(l.patch_cols * p.channels) * sizeof *row);
      continue;
    }
    memset(row, 0, static_cast<size_t>(x0 * p.channels) * sizeof *row);
    memset(row + x1 * p.channels, 0, static_cast<size_t>((l.patch_cols - x1) * p.channels) * sizeof *row);
    const int64_t at = r.image * s.image_stride + sy * s.row_stride + (r.left + x0) * s.col_stride;
    row += x0 * p.channels;
    const int64_t count = (x1 - x0) * p.channels;
    if (s.bytes && together) {
      fill_together<Products>(p, static_cast<const uint8_t*>(s.data) + at, means, count, row);
    } else if (s.bytes) {
      fill_pixels<Products>(p, static_cast<const uint8_t*>(s.data) + at, s.channel_stride, s.col_stride, x1 - x0, row);
    } else if (plain) {
      const float* from = static_cast<const float*>(s.data) + at;
      for (int64_t i = 0; i < count; ++i) Products::put(from[i], p.bf16, row + i);
    } else if (together) {
      fill_together<Products>(p, static_cast<const float*>(s.data) + at, means, count, row);
    } else {
      fill_pixels<Products>(p, static_cast<const float*>(s.data) + at, s.channel_stride, s.col_stride, x1 - x0, row);
    }
  }
}

// Where a tile reads and writes; steps in elements of the patch and in floats of the output.
template <typename Element>
struct TilePlace {
  const Element* input;  // of the first position, at its first tap
  int64_t input_row;     // between rows of the patch
  int64_t run;           // consecutive products of one patch row ...
  int64_t runs;          // ... of which there are so many,
  int64_t run_step;      // so far apart, in each of `size` rows
  int64_t size;
  int64_t col_step, row_step;  // between positions along and below each other
  const float* weight;
  const float* bias;
  float* out;
  int64_t out_col, out_row;
};

// R x C outputs of one block of filters: bias and ReLU included. Three positions share a pointer: an x86 address can add one or
// two steps to it for nothing.
template <typename Products, int R, int C>
void conv_tile(const TilePlace<typename Products::Element>& t) {
  constexpr int kAcross = (C + 2) / 3, kPointers = R * kAcross;
  Vec low[R * C], high[R * C];
  _Pragma("GCC unroll 16") for (int i = 0; i < R * C; ++i) low[i] = high[i] = Vec::zero();
  const float* weight = t.weight;
  const int64_t step = t.col_step, whole = t.run / Products::kDepth * Products::kDepth;
  for (int64_t ky = 0; ky < t.size; ++ky) {
    for (int64_t kx = 0; kx < t.runs; ++kx) {
      const typename Products::Element* from[kPointers];
      _Pragma("GCC unroll 16") for (int i = 0; i < kPointers; ++i) {
        from[i] = t.input + ky * t.input_row + kx * t.run_step + (i / kAcross) * t.row_step + (i % kAcross) * 3 * step;
      }
      int64_t k = 0;
      for (; k < whole; k += Products::kDepth, weight += kBlock) {
        const Vec w0 = Vec::load(weight), w1 = Vec::load(weight + Vec::width);
        _Pragma("GCC unroll 16") for (int i = 0; i < R * C; ++i) {
          const Vec x = Products::spread(&from[i / C * kAcross + i % C / 3][(i % C % 3) * step + k]);
          low[i] = Products::add(x, w0, low[i]);
          high[i] = Products::add(x, w1, high[i]);
        }
      }
      if (k < t.run) {
        const Vec w0 = Vec::load(weight), w1 = Vec::load(weight + Vec::width);
        _Pragma("GCC unroll 16") for (int i = 0; i < R * C; ++i) {
          const Vec x = Products::spread_rest(&from[i / C * kAcross + i % C / 3][(i % C % 3) * step + k]);
          low[i] = Products::add(x, w0, low[i]);
          high[i] = Products::add(x, w1, high[i]);
        }
        weight += kBlock;
      }
    }
  }
  const Vec b0 = Vec::load(t.bias), b1 = Vec::load(t.bias + Vec::width);
  _Pragma("GCC unroll 16") for (int i = 0; i < R * C; ++i) {
    float* out = t.out + (i / C) * t.out_row + (i % C) * t.out_col;
    Vec::relu(Vec::add(low[i], b0)).store(out);
    Vec::relu(Vec::add(high[i], b1)).store(out + Vec::width);
  }
}

template <typename Products>
using Tile = void (*)(const TilePlace<typename Products::Element>&);

// The tile of one row and `cols` columns, 1 to kPositions.
template <typename Products, int C = kPositions>
inline Tile<Products> row_tile(int64_t cols) {
  if constexpr (C > 1) {
    if (cols < C) return row_tile<Products, C - 1>(cols);
  }
  return conv_tile<Products, 1, C>;
}

// The tile of rows_together(cols) rows and `cols` columns, 1 to kPositions / 2.
template <typename Products, int C = kPositions / 2>
inline Tile<Products> narrow_tile(int64_t cols) {
  if constexpr (C > 1) {
    if (cols < C) return narrow_tile<Products, C - 1>(cols);
  }
  return conv_tile<Products, kPositions / C, C>;
}

// Conv rows y ... y + count - 1 go to `out`, row after row; count is 1 or l.together.
template <typename Products>
void conv_rows(const BlockProblem& p, const RegionRow& r, const Layout& l, const typename Products::Element* patch, int64_t y,
               int64_t count, float* out) {
  const int64_t blocks = round_up(p.group_filters(), kBlock) / kBlock;
  TilePlace<typename Products::Element> t{};
  t.input_row = l.patch_cols * p.channels;
  t.run = p.groups == 1 ? p.size * p.channels : p.group_channels();  // without groups a row's taps and channels are contiguous
  t.runs = p.groups == 1 ? 1 : p.size;
  t.run_step = p.channels;
  t.size = p.size;
  t.col_step = p.stride * p.channels;
  t.row_step = p.stride * t.input_row;
  t.weight = p.weight;
  t.out_col = l.filters;
  t.out_row = r.cols * l.filters;
  const int64_t block_weights = p.size * t.runs * ((t.run + Products::kDepth - 1) / Products::kDepth) * kBlock;
  for (int64_t g = 0; g < p.groups; ++g) {
    const typename Products::Element* rows = patch + y * p.stride * t.input_row + g * p.group_channels();
    for (int64_t b = 0; b < blocks; ++b, t.weight += block_weights) {
      const int64_t first = (g * blocks + b) * kBlock;
      t.bias = p.bias + first;
      const int64_t across = count > 1 ? r.cols : kPositions;
      for (int64_t x = 0; x < r.cols; x += across) {
        const int64_t cols = r.cols - x < across ? r.cols - x : across;
        t.input = rows + x * t.col_step;
        t.out = out + x * l.filters + first;
        (count > 1 ? narrow_tile<Products>(cols) : row_tile<Products>(cols))(t);
      }
    }
  }
}

// Filter f's place among the padded ones: groups are padded each for itself.
inline int64_t place_of(const BlockProblem& p, int64_t f) {
  const int64_t per_group = p.group_filters();
  return f / per_group * round_up(per_group, kBlock) + f % per_group;
}

inline bool places_are_filters(const BlockProblem& p) { return p.groups == 1 || p.group_filters() % kBlock == 0; }

inline void gather(const BlockProblem& p, const float* padded, float* values) {
  if (places_are_filters(p)) {
    memcpy(values, padded, static_cast<size_t>(p.filters) * sizeof(float));
    return;
  }
  for (int64_t f = 0; f < p.filters; ++f) values[f] = padded[place_of(p, f)];
}

// d^-power of a vector; the common power 3/4 without a call.
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

// The norm across maps of one position, in place. `values` holds the filters without padding between groups, then zeros to
// `count`, whole vectors; `square` has zeros around its `count`, so that every window has the same sum of norm_size terms.
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

// Row y of a same-map norm over `rows` x `cols` positions whose rows lie in a ring of `depth`.
void same_map_row(const BlockProblem& p, const Layout& l, const float* ring, int64_t depth, int64_t y, int64_t rows,
                  int64_t cols, float* out) {
  const int64_t before = p.norm_size / 2;
  const int64_t y0 = y - before < 0 ? 0 : y - before;
  const int64_t y1 = y - before + p.norm_size > rows ? rows : y - before + p.norm_size;
  const int64_t row = cols * l.filters;
  for (int64_t x = 0; x < cols; ++x) {
    const int64_t x0 = x - before < 0 ? 0 : x - before;
    const int64_t x1 = x - before + p.norm_size > cols ? cols : x - before + p.norm_size;
    const float* centre = ring + (y % depth) * row + x * l.filters;
    for (int64_t f = 0; f < l.filters; f += Vec::width) {
      Vec sum = Vec::zero();
      for (int64_t i = y0; i < y1; ++i) {
        for (int64_t j = x0; j < x1; ++j) {
          const Vec v = Vec::load(ring + (i % depth) * row + j * l.filters + f);
          sum = Vec::add(sum, Vec::mul(v, v));
        }
      }
      const Vec d = Vec::add(Vec::broadcast(1.0f), Vec::mul(Vec::broadcast(p.norm_scale), sum));
      Vec::mul(Vec::load(centre + f), inverse_power(d, p.norm_power)).store(out + x * l.filters + f);
    }
  }
}

// Pooled row k of a piece. Conv rows are taken a few at a time, so that a position's filters stay in registers meanwhile.
void pool_row(const BlockProblem& p, const RegionRow& r, const Layout& l, const PieceRow& piece, const float* ring, int64_t k,
              float* out) {
  constexpr int64_t kAtOnce = 8;
  const int64_t first = piece.top + k * p.pool_stride, last = smaller(first + p.pool_size, r.rows);
  for (int64_t y = first; y < last; y += kAtOnce) {
    const float* rows[kAtOnce];
    const int64_t count = smaller(last - y, kAtOnce);
    for (int64_t i = 0; i < count; ++i) rows[i] = ring + (y + i) % l.ring * r.cols * l.filters;
    for (int64_t j = 0; j < piece.cols; ++j) {
      const int64_t x0 = piece.left + j * p.pool_stride, x1 = smaller(x0 + p.pool_size, r.cols);
      for (int64_t f = 0; f < l.filters; f += Vec::width) {
        float* to = out + j * l.filters + f;
        Vec best = y == first ? Vec::load(rows[0] + x0 * l.filters + f) : Vec::load(to);
        for (int64_t i = 0; i < count; ++i) {
          for (int64_t x = x0; x < x1; ++x) best = Vec::larger(best, Vec::load(rows[i] + x * l.filters + f));
        }
        best.store(to);
      }
    }
  }
}

// Row k of a piece's results goes where it is wanted.
void store_row(const BlockProblem& p, const Layout& l, const PieceRow& piece, int64_t k, const float* row) {
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

// Everything that follows pooled row k of a piece, whose rows lie in a ring at `pooled`: the norm after the pool, and storing.
void finish_row(const BlockProblem& p, const Layout& l, const PieceRow& piece, int64_t k, float* pooled, float* scratch) {
  if (!norm_after_pool(p, Norm::same_map)) {
    if (norm_after_pool(p, Norm::cross_map)) cross_map_row(p, l, pooled, piece.cols, scratch);
    store_row(p, l, piece, k, pooled);
    return;
  }
  const int64_t after = p.norm_size - 1 - p.norm_size / 2;
  const int64_t last = k == piece.rows - 1 ? k : k - after;  // the last row whose whole norm window is there
  for (int64_t j = k - after < 0 ? 0 : k - after; j <= last; ++j) {
    same_map_row(p, l, pooled, pooled_depth(p, piece), j, piece.rows, piece.cols, scratch + l.normed);
    store_row(p, l, piece, j, scratch + l.normed);
  }
}

// Row y of what is pooled is in the ring: every pool window that ends with it can be taken; with the last row, all that are left.
void feed(const BlockProblem& p, const RegionRow& r, const Layout& l, int64_t y, float* scratch) {
  float* pooled = scratch + l.pooled;
  for (int64_t i = 0; i < r.count; ++i) {
    const PieceRow& piece = p.pieces[r.first + i];
    const int64_t row = piece.cols * l.filters, depth = pooled_depth(p, piece);
    const int64_t past = y - piece.top - p.pool_size + 1;  // window k ends with row y when this is k strides
    int64_t k = past <= 0 ? 0 : (past + p.pool_stride - 1) / p.pool_stride;
    const int64_t end = y == r.rows - 1 ? piece.rows : (past >= 0 && past % p.pool_stride == 0 ? k + 1 : k);
    for (; k < end && k < piece.rows; ++k) {
      float* out = pooled + (k % depth) * row;
      pool_row(p, r, l, piece, scratch + l.ring_at, k, out);
      finish_row(p, l, piece, k, norm_after_pool(p, Norm::same_map) ? pooled : out, scratch);
    }
    pooled += depth * row;
  }
}

template <typename Products>
void run_region_with(const BlockProblem& p, const RegionRow& r, float* scratch) {
  const Layout l = layout_of(p, r);
  const int64_t row = r.cols * l.filters;
  const bool normed = norm_before_pool(p, Norm::same_map);
  const int64_t after = p.norm_size - 1 - p.norm_size / 2;
  auto* patch = reinterpret_cast<typename Products::Element*>(scratch + l.patch);
  fill_patch<Products>(p, r, l, scratch + l.means, patch);
  for (int64_t y = 0; y < r.rows;) {
    const int64_t count = r.rows - y < l.together ? 1 : l.together;
    float* out = normed ? scratch + l.raw + (y % l.raw_ring) * row : scratch + l.ring_at + (y % l.ring) * row;
    conv_rows<Products>(p, r, l, patch, y, count, out);
    for (const int64_t stop = y + count; y < stop; ++y, out += row) {
      if (!normed) {
        if (norm_before_pool(p, Norm::cross_map)) cross_map_row(p, l, out, r.cols, scratch);
        feed(p, r, l, y, scratch);
        continue;
      }
      const int64_t last = y == r.rows - 1 ? y : y - after;
      for (int64_t i = y - after < 0 ? 0 : y - after; i <= last; ++i) {
        same_map_row(p, l, scratch + l.raw, l.raw_ring, i, r.rows, r.cols, scratch + l.ring_at + (i % l.ring) * row);
        feed(p, r, l, i, scratch);
      }
    }
  }
}

void run_region(const BlockProblem& p, const RegionRow& r, float* scratch) {
#ifdef DCNN_BF16_PAIRS
  if (p.bf16) return run_region_with<Pairs>(p, r, scratch);
#endif
  run_region_with<Single>(p, r, scratch);
}

}  // namespace
}  // namespace dcnn
