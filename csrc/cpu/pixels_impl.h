// A layer at each pixel, for the vector type `Vec` that the including file defines: the products of the inverted residual block
// (mbconv_impl.h), and a backbone's layers. amx_pixels_impl.h is the same on a tile unit.
//
// Tile: positions_of(n) pixels x n vectors of outputs in registers, n from 1 to kPanel. Every sum has one accumulator that
// takes its products in order, so a result's bits do not depend on tiles or threads.
// Memory: the pixels in the products' form. Limit: multiply-adds.

#pragma once

#include "conv_impl.h"
#include "mbconv_kernel.h"

namespace dcnn {
namespace {

constexpr float kCeiling = 6.0f;  // of ReLU6

// Positions of a tile: as many as fit the registers with that number of vectors of outputs.
constexpr int positions_of(int vectors) { return vectors == 1 ? kPositions * 4 / 3 : vectors == 2 ? kPositions : kPositions * 2 / 3; }

inline Vec relu6(Vec a) { return Vec::smaller(Vec::broadcast(kCeiling), Vec::relu(a)); }

// The next weights, which each tile prefetches in part into L2, `step` bytes with each product: the processor alone prefetches
// too few in time. at: an integer, as it may exceed their end.
struct Ahead {
  uintptr_t at;
  uintptr_t step;
};

// The final step of a panel's sums, which begin at `bias`: pixel i's go to `out` at place[i], or at i * step where place is
// null. input: added to them, in the same layout, or null. clip: ReLU6. last: values of the panel's last vector.
struct Finish {
  const float* bias;
  float* out;
  const int64_t* place;
  int64_t step;
  const float* input;
  bool clip;
  int64_t vectors, last;

  int64_t at(int64_t pixel) const { return place != nullptr ? place[pixel] : pixel * step; }

  void put(int64_t at, int v, Vec value) const {
    at += v * Vec::width;
    const bool part = v + 1 == vectors && last < Vec::width;
    if (input != nullptr) value = Vec::add(value, part ? Vec::load_first(input + at, last) : Vec::load(input + at));
    if (clip) value = relu6(value);
    part ? value.store_first(out + at, last) : value.store(out + at);
  }
};

// P positions x V vectors of outputs, for the pixels from `first` on.
template <typename Products, int V, int P>
inline void pixel_tile(const typename Products::Element* a, int64_t step, int64_t depth, const float* weight, Ahead ahead,
                       const Finish& finish, int64_t first) {
  constexpr int kPointers = (P + 2) / 3;
  Vec sum[P * V];
  _Pragma("GCC unroll 32") for (int i = 0; i < P * V; ++i) sum[i] = Vec::load(finish.bias + i % V * Vec::width);
  const typename Products::Element* from[kPointers];
  _Pragma("GCC unroll 16") for (int i = 0; i < kPointers; ++i) from[i] = a + i * 3 * step;
  for (int64_t k = 0; k < depth; k += Products::kDepth, weight += V * Vec::width, ahead.at += ahead.step) {
    __builtin_prefetch(reinterpret_cast<const void*>(ahead.at), 0, 2);
    Vec w[V];
    _Pragma("GCC unroll 4") for (int v = 0; v < V; ++v) w[v] = Vec::load(weight + v * Vec::width);
    _Pragma("GCC unroll 16") for (int i = 0; i < P; ++i) {
      const Vec x = Products::spread(from[i / 3] + (i % 3) * step);
      _Pragma("GCC unroll 4") for (int v = 0; v < V; ++v) sum[i * V + v] = Products::add(x, w[v], sum[i * V + v]);
    }
    _Pragma("GCC unroll 16") for (int i = 0; i < kPointers; ++i) from[i] += Products::kDepth;
  }
  _Pragma("GCC unroll 16") for (int i = 0; i < P; ++i) {
    const int64_t at = finish.at(first + i);
    _Pragma("GCC unroll 4") for (int v = 0; v < V; ++v) finish.put(at, v, sum[i * V + v]);
  }
}

// The tile of `count` positions, 1 to P.
template <typename Products, int V, int P>
inline void pixels_tile(int64_t count, const typename Products::Element* a, int64_t step, int64_t depth, const float* weight,
                        Ahead ahead, const Finish& finish, int64_t first) {
  if constexpr (P > 1) {
    if (count < P) return pixels_tile<Products, V, P - 1>(count, a, step, depth, weight, ahead, finish, first);
  }
  pixel_tile<Products, V, P>(a, step, depth, weight, ahead, finish, first);
}

// Divides `count` positions into tiles as equal as possible: small tiles wait for their sums.
template <typename Products, int V>
void panel_pixels(const typename Products::Element* a, int64_t step, int64_t count, int64_t depth, const float* weight,
                  const float* next, const Finish& finish) {
  constexpr int kMost = positions_of(V);
  const int64_t tiles = (count + kMost - 1) / kMost;
  const int64_t wide = V * Vec::width * sizeof(float), bytes = (depth + Products::kDepth - 1) / Products::kDepth * wide;
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t first = t * count / tiles, last = (t + 1) * count / tiles;
    const uintptr_t share = reinterpret_cast<uintptr_t>(next) + static_cast<uintptr_t>(t * bytes / tiles);
    const Ahead ahead{share, static_cast<uintptr_t>(wide / tiles)};
    pixels_tile<Products, V, kMost>(last - first, a + first * step, step, depth, weight, ahead, finish, first);
  }
}

// One panel of 1 to kPanel vectors. next: the weights needed afterwards.
template <typename Products>
void panel(int64_t vectors, const typename Products::Element* a, int64_t step, int64_t count, int64_t depth, const float* weight,
           const float* next, const Finish& finish) {
  if (vectors == 1) return panel_pixels<Products, 1>(a, step, count, depth, weight, next, finish);
  if (vectors == 2) return panel_pixels<Products, 2>(a, step, count, depth, weight, next, finish);
  panel_pixels<Products, 3>(a, step, count, depth, weight, next, finish);
}

// Pixels that products read at a time; at the end they also read past the last pixel, and drop it.
template <typename Products>
constexpr int64_t kPixelsRead = 1;

// State that must exist while products are formed.
template <typename Products>
struct InUse {};

// Floats of a layer's weights per lane of outputs.
template <typename Products>
int64_t weight_floats(int64_t inputs) {
  constexpr int64_t kOfFloat = sizeof(float) / sizeof(typename Products::Element);
  return round_up(inputs, Products::kDepth) / kOfFloat;
}

// Stores values in the form of the products that follow.
inline void put_products(Vec value, bool bf16, float* to) {
  value.store(to);
  for (int i = 0; bf16 && i < Vec::width; ++i) to[i] = from_bf16(to_bf16(to[i]));
}

#if defined(DCNN_BF16_PAIRS) || defined(DCNN_TILES)
inline void put_products(Vec value, bool, uint16_t* to) { value.store_bf16(to); }
#endif

inline int64_t lines(int64_t floats) { return round_up(floats, 16); }

// Floats of a buffer for pixels in the products' form, `step` values apart.
template <typename Products>
int64_t room_floats(int64_t count, int64_t step) {
  constexpr int64_t kOfFloat = sizeof(float) / sizeof(typename Products::Element);
  return lines((round_up(count, kPixelsRead<Products>) * step + kOfFloat - 1) / kOfFloat);
}

// The pixels [count, channels] in the products' form, *step values apart; converted into `room` where needed.
template <typename Products>
const typename Products::Element* read_pixels(const float* x, int64_t count, int64_t channels, bool bf16, int64_t* step, float* room) {
  typedef typename Products::Element Element;
  *step = channels;
  if constexpr (Products::kDepth == 1) {
    if (!bf16) return x;
  }
  *step = round_up(channels, Products::kDepth);
  Element* const to = reinterpret_cast<Element*>(room);
  for (int64_t i = 0; i < count; ++i) {
    Element* row = to + i * *step;
    int64_t c = 0;
    for (; c + Vec::width <= channels; c += Vec::width) put_products(Vec::load(x + i * channels + c), true, row + c);
    for (; c < channels; ++c) Products::put(x[i * channels + c], true, row + c);
    for (; c < *step; ++c) row[c] = Element{};
  }
  return to;
}

template <typename Products>
void layer_pixels(const PixelLayer& layer, const float* x, int64_t count, float* out, float* scratch) {
  int64_t step = 0;
  const typename Products::Element* const read = read_pixels<Products>(x, count, layer.inputs, layer.bf16, &step, scratch);
  const Panels panels(layer.outputs, Vec::width);
  [[maybe_unused]] const InUse<Products> in_use;
  const float* weight = layer.weight;
  for (int64_t number = 0; number < panels.count; ++number) {
    const int64_t first = panels.first(number) * Vec::width, vectors = panels.width(number);
    const int64_t left = layer.outputs - first - (vectors - 1) * Vec::width;
    const Finish finish{layer.bias + first, out + first, nullptr, layer.outputs, nullptr, true, vectors,
                        left < Vec::width ? left : Vec::width};
    const float* const following = weight + weight_floats<Products>(layer.inputs) * vectors * Vec::width;
    panel<Products>(vectors, read, step, count, layer.inputs, weight, number + 1 < panels.count ? following : layer.weight, finish);
    weight = following;
  }
}

}  // namespace
}  // namespace dcnn
