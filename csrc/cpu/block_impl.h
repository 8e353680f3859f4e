// The fused block over one region, for the vector type `Vec` that the including file defines.
//
// Tile: 6 positions x 2 vectors of filters in registers; K runs over ky, kx, c in that order with one accumulator, so an
// output's bits are the same wherever it is computed. Conv rows live in a ring as deep as the pool window (and the same-map
// norm's, when it comes first), so the convolution's output never leaves the cache.
// Memory per region: the padded input patch, the ring, one pooled row per piece (norm size of them for a same-map norm).

#include <math.h>
#include <string.h>

#include "kernel.h"

namespace dcnn {
namespace {

constexpr int kPositions = 6;
constexpr int64_t kBlock = 2 * Vec::width;

struct Layout {
  int64_t filters;  // padded: a position's stride in rows of activations
  int64_t patch_rows, patch_cols, raw_ring, ring;
  int64_t patch, raw, ring_at, square, sums, gathered, pooled, normed;  // offsets into the scratch, in floats
  int64_t total;
};

inline bool norm_before_pool(const BlockProblem& p, Norm kind) { return p.norm == kind && p.norm_first; }
inline bool norm_after_pool(const BlockProblem& p, Norm kind) { return p.norm == kind && !p.norm_first; }

// Pooled rows a piece keeps: as many as a same-map norm that follows the pool looks at.
inline int64_t pooled_depth(const BlockProblem& p) { return norm_after_pool(p, Norm::same_map) ? p.norm_size : 1; }

Layout layout_of(const BlockProblem& p, const RegionRow& r) {
  Layout l{};
  l.filters = padded_filters(p, kBlock);
  l.patch_rows = (r.rows - 1) * p.stride + p.size;
  l.patch_cols = (r.cols - 1) * p.stride + p.size;
  l.raw_ring = norm_before_pool(p, Norm::same_map) ? p.norm_size : 0;
  l.ring = p.pool_size;
  const int64_t row = r.cols * l.filters;
  const int64_t depth = pooled_depth(p);
  int64_t pooled = 0, widest = 0;
  for (int64_t i = 0; i < r.count; ++i) {
    const int64_t floats = p.pieces[r.first + i].cols * l.filters;
    pooled += depth * floats;
    widest = floats > widest ? floats : widest;
  }
  int64_t at = 0;
  const auto take = [&at](int64_t floats) {
    const int64_t start = at;
    at += round_up(floats, 16);
    return start;
  };
  l.patch = take(l.patch_rows * l.patch_cols * p.channels);
  l.raw = take(l.raw_ring * row);
  l.ring_at = take(l.ring * row);
  l.square = take(l.filters + p.norm_size);
  l.sums = take(l.filters);
  l.gathered = take(l.filters);
  l.pooled = take(pooled);
  l.normed = take(depth > 1 ? widest : 0);
  l.total = at;
  return l;
}

size_t region_scratch(const BlockProblem& p, const RegionRow& r) { return static_cast<size_t>(layout_of(p, r).total); }

inline float read_pixel(const Source& s, int64_t at) {
  return s.bytes ? static_cast<float>(static_cast<const uint8_t*>(s.data)[at]) : static_cast<const float*>(s.data)[at];
}

// The pixels the region's convolutions read, (pixel - mean) * scale inside its window and zero outside.
void fill_patch(const BlockProblem& p, const RegionRow& r, const Layout& l, float* patch) {
  const Source& s = p.sources[r.source];
  for (int64_t y = 0; y < l.patch_rows; ++y) {
    float* row = patch + y * l.patch_cols * p.channels;
    const int64_t sy = r.top + y;
    const bool inside_rows = sy >= r.window_top && sy < r.window_top + r.window_height;
    for (int64_t x = 0; x < l.patch_cols; ++x, row += p.channels) {
      const int64_t sx = r.left + x;
      if (!inside_rows || sx < r.window_left || sx >= r.window_left + r.window_width) {
        for (int64_t c = 0; c < p.channels; ++c) row[c] = 0.0f;
        continue;
      }
      const int64_t at = r.image * s.image_stride + sy * s.row_stride + sx * s.col_stride;
      if (!s.bytes && s.channel_stride == 1) {
        const float* from = static_cast<const float*>(s.data) + at;
        for (int64_t c = 0; c < p.channels; ++c) row[c] = (from[c] - p.mean[c]) * p.scale;
      } else {
        for (int64_t c = 0; c < p.channels; ++c) row[c] = (read_pixel(s, at + c * s.channel_stride) - p.mean[c]) * p.scale;
      }
    }
  }
}

// N adjacent outputs of one conv row for one block of filters: bias and ReLU included.
template <int N>
inline void conv_tile(const BlockProblem& p, const float* input, int64_t input_row, const float* weight, const float* bias,
                      float* out, int64_t out_step) {
  Vec low[N], high[N];
  for (int i = 0; i < N; ++i) low[i] = high[i] = Vec::zero();
  const int64_t step = p.stride * p.channels;
  const int64_t run = p.group_channels();
  for (int64_t ky = 0; ky < p.size; ++ky) {
    for (int64_t kx = 0; kx < p.size; ++kx) {
      const float* from = input + ky * input_row + kx * p.channels;
      for (int64_t c = 0; c < run; ++c, weight += kBlock) {
        const Vec w0 = Vec::load(weight), w1 = Vec::load(weight + Vec::width);
        for (int i = 0; i < N; ++i) {
          const Vec x = Vec::broadcast(from[i * step + c]);
          low[i] = Vec::fma(x, w0, low[i]);
          high[i] = Vec::fma(x, w1, high[i]);
        }
      }
    }
  }
  const Vec b0 = Vec::load(bias), b1 = Vec::load(bias + Vec::width);
  for (int i = 0; i < N; ++i) {
    Vec::relu(Vec::add(low[i], b0)).store(out + i * out_step);
    Vec::relu(Vec::add(high[i], b1)).store(out + i * out_step + Vec::width);
  }
}

void conv_row(const BlockProblem& p, const RegionRow& r, const Layout& l, const float* patch, int64_t y, float* out) {
  const int64_t input_row = l.patch_cols * p.channels;
  const int64_t blocks = round_up(p.group_filters(), kBlock) / kBlock;
  const int64_t block_weights = p.size * p.size * p.group_channels() * kBlock;
  const float* weight = p.weight;
  for (int64_t g = 0; g < p.groups; ++g) {
    const float* rows = patch + y * p.stride * input_row + g * p.group_channels();
    for (int64_t b = 0; b < blocks; ++b, weight += block_weights) {
      const int64_t first = (g * blocks + b) * kBlock;
      int64_t x = 0;
      for (; x + kPositions <= r.cols; x += kPositions) {
        conv_tile<kPositions>(p, rows + x * p.stride * p.channels, input_row, weight, p.bias + first,
                              out + x * l.filters + first, l.filters);
      }
      for (; x < r.cols; ++x) {
        conv_tile<1>(p, rows + x * p.stride * p.channels, input_row, weight, p.bias + first, out + x * l.filters + first,
                     l.filters);
      }
    }
  }
}

// d^-power; the common power 3/4 without a call.
inline float inverse_power(float d, float power) {
  if (power == 0.75f) {
    const float root = sqrtf(d);
    return 1.0f / (root * sqrtf(root));
  }
  return powf(d, -power);
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

// The norm across maps of one position, in place. `values` holds the filters without padding between groups; `square` has
// zeros around them, so that every window has the same sum of norm_size terms.
void cross_map_position(const BlockProblem& p, float* values, float* square, float* sums) {
  const int64_t before = p.norm_size / 2;
  for (int64_t f = 0; f < p.filters; ++f) square[before + f] = values[f] * values[f];
  for (int64_t f = 0; f < p.filters; ++f) sums[f] = square[f];
  for (int64_t j = 1; j < p.norm_size; ++j) {
    for (int64_t f = 0; f < p.filters; ++f) sums[f] += square[f + j];
  }
  for (int64_t f = 0; f < p.filters; ++f) {
    values[f] *= inverse_power(p.norm_k + p.norm_scale * sums[f], p.norm_power);
  }
}

void cross_map_row(const BlockProblem& p, const Layout& l, float* row, int64_t cols, float* scratch) {
  float* square = scratch + l.square;
  float* values = scratch + l.gathered;
  for (int64_t i = 0; i < l.filters + p.norm_size; ++i) square[i] = 0.0f;
  for (int64_t x = 0; x < cols; ++x) {
    float* at = row + x * l.filters;
    if (places_are_filters(p)) {
      cross_map_position(p, at, square, scratch + l.sums);
      continue;
    }
    gather(p, at, values);
    cross_map_position(p, values, square, scratch + l.sums);
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
    for (int64_t f = 0; f < l.filters; ++f) {
      float sum = 0.0f;
      for (int64_t i = y0; i < y1; ++i) {
        for (int64_t j = x0; j < x1; ++j) {
          const float v = ring[(i % depth) * row + j * l.filters + f];
          sum += v * v;
        }
      }
      out[x * l.filters + f] = centre[f] * inverse_power(1.0f + p.norm_scale * sum, p.norm_power);
    }
  }
}

// A NaN wins, as in torch.
inline float larger(float a, float b) { return (b > a || b != b) ? b : a; }

void pool_row(const BlockProblem& p, const RegionRow& r, const Layout& l, const PieceRow& piece, const float* ring, int64_t k,
              float* out) {
  const int64_t y0 = piece.top + k * p.pool_stride;
  const int64_t y1 = y0 + p.pool_size > r.rows ? r.rows : y0 + p.pool_size;
  const int64_t row = r.cols * l.filters;
  for (int64_t j = 0; j < piece.cols; ++j, out += l.filters) {
    const int64_t x0 = piece.left + j * p.pool_stride;
    const int64_t x1 = x0 + p.pool_size > r.cols ? r.cols : x0 + p.pool_size;
    for (int64_t y = y0; y < y1; ++y) {
      for (int64_t x = x0; x < x1; ++x) {
        const float* from = ring + (y % l.ring) * row + x * l.filters;
        if (y == y0 && x == x0) {
          memcpy(out, from, static_cast<size_t>(l.filters) * sizeof(float));
        } else {
          for (int64_t f = 0; f < l.filters; ++f) out[f] = larger(out[f], from[f]);
        }
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
    same_map_row(p, l, pooled, p.norm_size, j, piece.rows, piece.cols, scratch + l.normed);
    store_row(p, l, piece, j, scratch + l.normed);
  }
}

// Row y of what is pooled is in the ring: every pool window that ends with it can be taken.
void feed(const BlockProblem& p, const RegionRow& r, const Layout& l, int64_t y, float* scratch) {
  const int64_t depth = pooled_depth(p);
  float* pooled = scratch + l.pooled;
  for (int64_t i = 0; i < r.count; ++i) {
    const PieceRow& piece = p.pieces[r.first + i];
    const int64_t row = piece.cols * l.filters;
    for (int64_t k = 0; k < piece.rows; ++k) {
      const int64_t end = piece.top + k * p.pool_stride + p.pool_size - 1;
      if ((end < r.rows - 1 ? end : r.rows - 1) != y) continue;
      float* out = pooled + (k % depth) * row;
      pool_row(p, r, l, piece, scratch + l.ring_at, k, out);
      finish_row(p, l, piece, k, depth > 1 ? pooled : out, scratch);
    }
    pooled += depth * row;
  }
}

void run_region(const BlockProblem& p, const RegionRow& r, float* scratch) {
  const Layout l = layout_of(p, r);
  const int64_t row = r.cols * l.filters;
  fill_patch(p, r, l, scratch + l.patch);
  for (int64_t y = 0; y < r.rows; ++y) {
    if (!norm_before_pool(p, Norm::same_map)) {
      float* out = scratch + l.ring_at + (y % l.ring) * row;
      conv_row(p, r, l, scratch + l.patch, y, out);
      if (norm_before_pool(p, Norm::cross_map)) cross_map_row(p, l, out, r.cols, scratch);
      feed(p, r, l, y, scratch);
      continue;
    }
    conv_row(p, r, l, scratch + l.patch, y, scratch + l.raw + (y % l.raw_ring) * row);
    const int64_t after = p.norm_size - 1 - p.norm_size / 2;
    const int64_t last = y == r.rows - 1 ? y : y - after;
    for (int64_t i = y - after < 0 ? 0 : y - after; i <= last; ++i) {
      same_map_row(p, l, scratch + l.raw, l.raw_ring, i, r.rows, r.cols, scratch + l.ring_at + (i % l.ring) * row);
      feed(p, r, l, i, scratch);
    }
  }
}

}  // namespace
}  // namespace dcnn
