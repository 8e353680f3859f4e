// The backward of the fused block for one image, for the vector type `Vec` that the including file defines: from the gradient
// of the block's result to that of the convolution's outputs, through norm, pool and ReLU. weight_impl.h and
// winograd_weight_impl.h go on to weight and bias; the gradient of the input is another convolution (run.cpp).
//
// Memory: the gradients of one image's convolution outputs and of its results; where the norm comes before the pool, two more
// images as large as the former.
// Limit: memory, and the square roots and divisions of the norm.

#pragma once

#include <string.h>

#include "gradient.h"
#include "hits_impl.h"
#include "tail_impl.h"
#include "winograd_weight_impl.h"

namespace dcnn {
namespace {

// Copies [positions, filters] to [positions, padded_row(filters)], with zeros as padding.
void pad_rows(const float* from, int64_t positions, int64_t filters, float* to) {
  const int64_t row = padded_row(filters);
  if (row == filters) {
    memcpy(to, from, static_cast<size_t>(positions * filters) * sizeof(float));
    return;
  }
  for (int64_t i = 0; i < positions; ++i, from += filters, to += row) {
    memcpy(to, from, static_cast<size_t>(filters) * sizeof(float));
    for (int64_t f = filters; f < row; ++f) to[f] = 0.0f;
  }
}

inline float norm_constant(const BlockProblem& p) { return p.norm == Norm::cross_map ? p.norm_k : 1.0f; }

// With d = k + scale * squares: multiplies grad by d^-power and returns grad * value * d^-power / d, the term for neighbours.
inline Vec norm_terms(const BlockProblem& p, Vec squares, Vec value, float* grad) {
  const Vec d = Vec::add(Vec::broadcast(norm_constant(p)), Vec::mul(Vec::broadcast(p.norm_scale), squares));
  const Vec direct = Vec::mul(Vec::load(grad), inverse_power(d, p.norm_power));
  direct.store(grad);
  return Vec::div(Vec::mul(direct, value), d);
}

// Subtracts 2 * scale * power * value * spread from grad.
inline void norm_spread(const BlockProblem& p, Vec spread, Vec value, float* grad) {
  const Vec factor = Vec::mul(Vec::broadcast(2.0f * p.norm_scale * p.norm_power), value);
  Vec::sub(Vec::load(grad), Vec::mul(factor, spread)).store(grad);
}

inline int64_t norm_floats(const BlockProblem& p, int64_t positions, int64_t row) {
  if (p.norm == Norm::none) return 0;
  return p.norm == Norm::cross_map ? 2 * (row + p.norm_size) : positions * row;
}

// Replaces the gradient of the norm's result by that of its input `values`, both [rows, cols, row].
void cross_map_gradient(const BlockProblem& p, int64_t positions, int64_t row, const float* values, float* grad, float* scratch) {
  const int64_t size = p.norm_size, before = size / 2, after = size - 1 - before;
  float* square = scratch;  // padded with zeros, so that every window has the same number of terms
  float* terms = scratch + row + size;
  memset(scratch, 0, static_cast<size_t>(2 * (row + size)) * sizeof(float));
  for (int64_t i = 0; i < positions; ++i, values += row, grad += row) {
    for (int64_t f = 0; f < row; f += Vec::width) {
      const Vec v = Vec::load(values + f);
      Vec::mul(v, v).store(square + before + f);
    }
    for (int64_t f = 0; f < row; f += Vec::width) {
      norm_terms(p, sum_of(square + f, size, 1), Vec::load(values + f), grad + f).store(terms + after + f);
    }
    for (int64_t f = 0; f < row; f += Vec::width) norm_spread(p, sum_of(terms + f, size, 1), Vec::load(values + f), grad + f);
  }
}

void same_map_gradient(const BlockProblem& p, int64_t rows, int64_t cols, int64_t row, const float* values, float* grad,
                       float* terms) {
  const int64_t size = p.norm_size, before = size / 2, after = size - 1 - before;
  const auto over_windows = [&](int64_t ahead, int64_t behind, const auto& use) {
    for (int64_t y = 0; y < rows; ++y) {
      const int64_t y0 = y < ahead ? 0 : y - ahead, y1 = smaller(y + behind + 1, rows);
      for (int64_t x = 0; x < cols; ++x) {
        const int64_t x0 = x < ahead ? 0 : x - ahead, x1 = smaller(x + behind + 1, cols);
        for (int64_t f = 0; f < row; f += Vec::width) use(y0, y1, x0, x1, (y * cols + x) * row + f, f);
      }
    }
  };
  over_windows(before, after, [&](int64_t y0, int64_t y1, int64_t x0, int64_t x1, int64_t at, int64_t f) {
    Vec sum = Vec::zero();
    for (int64_t y = y0; y < y1; ++y) {
      for (int64_t x = x0; x < x1; ++x) {
        const Vec v = Vec::load(values + (y * cols + x) * row + f);
        sum = Vec::add(sum, Vec::mul(v, v));
      }
    }
    norm_terms(p, sum, Vec::load(values + at), grad + at).store(terms + at);
  });
  over_windows(after, before, [&](int64_t y0, int64_t y1, int64_t x0, int64_t x1, int64_t at, int64_t f) {
    Vec sum = Vec::zero();
    for (int64_t y = y0; y < y1; ++y) sum = Vec::add(sum, sum_of(terms + (y * cols + x0) * row + f, x1 - x0, row));
    norm_spread(p, sum, Vec::load(values + at), grad + at);
  });
}

void norm_gradient(const BlockProblem& p, int64_t rows, int64_t cols, const float* values, float* grad, float* scratch) {
  const int64_t row = padded_row(p.filters);
  if (p.norm == Norm::cross_map) cross_map_gradient(p, rows * cols, row, values, grad, scratch);
  if (p.norm == Norm::same_map) same_map_gradient(p, rows, cols, row, values, grad, scratch);
}

// Writes the norm of [rows, cols, row] to `out`.
void norm_values(const BlockProblem& p, int64_t rows, int64_t cols, const float* values, float* out, float* scratch) {
  Layout l{};
  l.filters = padded_row(p.filters);
  if (p.norm == Norm::same_map) {
    for (int64_t y = 0; y < rows; ++y) same_map_row(p, l, values, rows, 0, y, rows, cols, out + y * cols * l.filters);
    return;
  }
  memset(scratch, 0, static_cast<size_t>(l.filters + p.norm_size) * sizeof(float));
  memcpy(out, values, static_cast<size_t>(rows * cols * l.filters) * sizeof(float));
  for (int64_t i = 0; i < rows * cols; ++i) cross_map_position(p, l.filters, out + i * l.filters, scratch);
}

// Calls use(y0, y1, x0, x1, k, j) for every pool window.
template <typename Use>
void over_pools(const GradientProblem& q, const Use& use) {
  const BlockProblem& p = q.block;
  for (int64_t k = 0; k < q.out_rows; ++k) {
    const int64_t y0 = k * p.pool_stride, y1 = smaller(y0 + p.pool_size, q.conv_rows);
    for (int64_t j = 0; j < q.out_cols; ++j) {
      const int64_t x0 = j * p.pool_stride;
      use(y0, y1, x0, smaller(x0 + p.pool_size, q.conv_cols), k * q.out_cols + j);
    }
  }
}

inline void add_to(float* to, Bits mask, Vec value) { Vec::add(Vec::load(to), masked(mask, value)).store(to); }

// Passes the gradient of pooled results to the outputs that hit.
void unpool_hits(const GradientProblem& q, int64_t image, const float* grad, float* conv_grad, uint16_t* padded) {
  const BlockProblem& p = q.block;
  const int64_t row = padded_row(p.filters);
  const uint16_t* all = q.hits + image * q.out_rows * q.out_cols * p.filters;
  over_pools(q, [&](int64_t y0, int64_t y1, int64_t x0, int64_t x1, int64_t at) {
    const uint16_t* hits = all + at * p.filters;
    if (row != p.filters) {
      memcpy(padded, hits, static_cast<size_t>(p.filters) * sizeof *hits);
      hits = padded;
    }
    for (int64_t f = 0; f < row; f += Vec::width) {
      Bits bits = load_bits(hits + f);
      if (q.first) bits &= -bits;
      const Vec g = Vec::load(grad + at * row + f);
      for (int64_t y = y0; y < y1; ++y) {
        for (int64_t x = x0; x < x1; ++x) {
          const int bit = static_cast<int>((y - y0) * p.pool_size + x - x0);
          add_to(conv_grad + (y * q.conv_cols + x) * row + f, -(bits >> bit & 1), g);
        }
      }
    }
  });
}

// The same without kept hits: finds the maxima of `image` [conv_rows, conv_cols, row] again.
void unpool_equal(const GradientProblem& q, const float* image, const float* grad, float* conv_grad) {
  const int64_t row = padded_row(q.block.filters);
  over_pools(q, [&](int64_t y0, int64_t y1, int64_t x0, int64_t x1, int64_t at) {
    for (int64_t f = 0; f < row; f += Vec::width) {
      const auto place = [&](int64_t y, int64_t x) { return (y * q.conv_cols + x) * row + f; };
      Vec best = Vec::load(image + place(y0, x0));
      for (int64_t y = y0; y < y1; ++y) {
        for (int64_t x = x0; x < x1; ++x) best = Vec::larger(best, Vec::load(image + place(y, x)));
      }
      const Vec g = Vec::load(grad + at * row + f);
      Bits taken{};
      for (int64_t y = y0; y < y1; ++y) {
        for (int64_t x = x0; x < x1; ++x) {
          const Bits hit = equal(Vec::load(image + place(y, x)), best) & ~taken;
          if (q.first) taken |= hit;
          add_to(conv_grad + place(y, x), hit, g);
        }
      }
    }
  });
}

// Distributes the gradient of an average evenly over its window.
void unpool_average(const GradientProblem& q, const float* grad, float* conv_grad) {
  const int64_t row = padded_row(q.block.filters);
  over_pools(q, [&](int64_t y0, int64_t y1, int64_t x0, int64_t x1, int64_t at) {
    const Vec count = Vec::broadcast(static_cast<float>((y1 - y0) * (x1 - x0)));
    for (int64_t f = 0; f < row; f += Vec::width) {
      const Vec g = Vec::div(Vec::load(grad + at * row + f), count);
      for (int64_t y = y0; y < y1; ++y) {
        for (int64_t x = x0; x < x1; ++x) {
          float* to = conv_grad + (y * q.conv_cols + x) * row + f;
          Vec::add(Vec::load(to), g).store(to);
        }
      }
    }
  });
}

void unpool(const GradientProblem& q, const float* image, const float* grad, float* conv_grad) {
  q.block.pool_average ? unpool_average(q, grad, conv_grad) : unpool_equal(q, image, grad, conv_grad);
}

void pool_averages(const GradientProblem& q, const float* image, float* pooled) {
  const int64_t row = padded_row(q.block.filters);
  over_pools(q, [&](int64_t y0, int64_t y1, int64_t x0, int64_t x1, int64_t at) {
    const Vec count = Vec::broadcast(static_cast<float>((y1 - y0) * (x1 - x0)));
    for (int64_t f = 0; f < row; f += Vec::width) {
      Vec sum = Vec::zero();
      for (int64_t y = y0; y < y1; ++y) {
        for (int64_t x = x0; x < x1; ++x) sum = Vec::add(sum, Vec::load(image + (y * q.conv_cols + x) * row + f));
      }
      Vec::div(sum, count).store(pooled + at * row + f);
    }
  });
}

void pool_values(const GradientProblem& q, const float* image, float* pooled) {
  if (q.block.pool_average) {
    pool_averages(q, image, pooled);
    return;
  }
  const int64_t row = padded_row(q.block.filters);
  over_pools(q, [&](int64_t y0, int64_t y1, int64_t x0, int64_t x1, int64_t at) {
    for (int64_t f = 0; f < row; f += Vec::width) {
      Vec best = Vec::load(image + (y0 * q.conv_cols + x0) * row + f);
      for (int64_t y = y0; y < y1; ++y) {
        for (int64_t x = x0; x < x1; ++x) best = Vec::larger(best, Vec::load(image + (y * q.conv_cols + x) * row + f));
      }
      best.store(pooled + at * row + f);
    }
  });
}

void relu_gradient(const float* values, int64_t count, float* grad) {
  for (int64_t i = 0; i < count; i += Vec::width) {
    masked(positive(Vec::load(values + i)), Vec::load(grad + i)).store(grad + i);
  }
}

// Offsets within a tail's scratch, in floats.
struct TailLayout {
  int64_t delta, values, hits, relu, normed, norm, total;
};

TailLayout tail_layout(const GradientProblem& q) {
  const BlockProblem& p = q.block;
  const int64_t row = padded_row(p.filters), conv = q.conv_rows * q.conv_cols, out = q.out_rows * q.out_cols;
  const bool before = q.again && p.norm != Norm::none && p.norm_first;
  TailLayout l{};
  const auto take = [&l](int64_t floats) {
    const int64_t start = l.total;
    l.total += round_up(floats, 16);
    return start;
  };
  l.delta = take(out * row);
  l.values = take(q.again || row != p.filters ? out * row : 0);
  l.hits = take(row);
  l.relu = take(q.again && row != p.filters ? conv * row : 0);
  l.normed = take(before ? conv * row : 0);
  l.norm = take(norm_floats(p, before ? conv : out, row));
  return l;
}

size_t tail_scratch(const GradientProblem& q) { return static_cast<size_t>(tail_layout(q).total); }

void run_tail(const GradientProblem& q, int64_t image, const float* relu, float* conv_grad, float* scratch) {
  const BlockProblem& p = q.block;
  const TailLayout l = tail_layout(q);
  const int64_t row = padded_row(p.filters), conv = q.conv_rows * q.conv_cols, out = q.out_rows * q.out_cols;
  const bool pooled = q.again || q.hits != nullptr;
  float* delta = pooled ? scratch + l.delta : conv_grad;
  memset(conv_grad, 0, static_cast<size_t>(conv * row + kBlock) * sizeof(float));
  pad_rows(q.grad + image * out * p.filters, out, p.filters, delta);
  if (q.again) {
    const float* outputs = relu;
    if (row != p.filters) {
      pad_rows(relu, conv, p.filters, scratch + l.relu);
      outputs = scratch + l.relu;
    }
    if (p.norm != Norm::none && p.norm_first) {
      float* normed = scratch + l.normed;
      norm_values(p, q.conv_rows, q.conv_cols, outputs, normed, scratch + l.norm);
      if (p.relu_last) {
        pool_values(q, normed, scratch + l.values);
        relu_gradient(scratch + l.values, out * row, delta);
      }
      unpool(q, normed, delta, conv_grad);
      norm_gradient(p, q.conv_rows, q.conv_cols, outputs, conv_grad, scratch + l.norm);
    } else {
      pool_values(q, outputs, scratch + l.values);
      if (p.relu_last) relu_gradient(scratch + l.values, out * row, delta);  // at the norm's result: the sign is its input's
      norm_gradient(p, q.out_rows, q.out_cols, scratch + l.values, delta, scratch + l.norm);
      unpool(q, outputs, delta, conv_grad);
    }
    if (!p.relu_last) relu_gradient(outputs, conv * row, conv_grad);
    return;
  }
  const float* values = q.values == nullptr ? nullptr : q.values + image * out * p.filters;
  if (values != nullptr && row != p.filters) {
    pad_rows(values, out, p.filters, scratch + l.values);
    values = scratch + l.values;
  }
  norm_gradient(p, q.out_rows, q.out_cols, values, delta, scratch + l.norm);
  if (pooled) {
    memset(scratch + l.hits, 0, static_cast<size_t>(row) * sizeof(float));
    unpool_hits(q, image, delta, conv_grad, reinterpret_cast<uint16_t*>(scratch + l.hits));
  } else {
    relu_gradient(values, conv * row, conv_grad);
  }
}

// Calls `use` with the problem's way to the weights' gradient.
template <typename Use>
auto with_weights(const GradientProblem& q, const Use& use) {
  switch (winograd_taps(q.block, kBf16)) {
    case 3: return use(WinogradWeights<6, 4>{});
    case 5: return use(WinogradWeights<8, 4>{});
    case 6: return use(WinogradWeights<8, 3>{});
    default: return use(DirectWeights{});
  }
}

size_t weight_running(const GradientProblem& q) {
  return with_weights(q, [&](auto way) { return static_cast<size_t>(decltype(way)::running(q)); });
}

size_t weight_scratch(const GradientProblem& q) {
  return with_weights(q, [&](auto way) { return static_cast<size_t>(decltype(way)::scratch(q)); });
}

void run_weight(const GradientProblem& q, int64_t image, const float* conv_grad, float* sums, float* running, float* scratch) {
  with_weights(q, [&](auto way) { decltype(way)::add(q, image, conv_grad, sums, running, scratch); });
  add_bias(q, conv_grad, sums + weight_floats(q));
}

void finish_weight(const GradientProblem& q, const float* running, float* sums) {
  with_weights(q, [&](auto way) { decltype(way)::finish(q, running, sums); });
}

const GradientKernels& gradients() {
  static const GradientKernels kernels{padded_row,      tail_scratch,   run_tail,   weight_floats,
                                       weight_running, weight_scratch, run_weight, finish_weight};
  return kernels;
}

}  // namespace
}  // namespace dcnn
