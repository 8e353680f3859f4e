// The inverted residual block for the vector type `Vec` that the including file defines.
//
// Works on a strip of rows at a time: panel after panel of the expanded maps is computed and filtered, so the wide maps exist
// only for one panel and strip; the filtered ones, [pixels, expanded], are projected together. Where a map takes several
// strips, rows that two of them read stay in a ring. Every sum takes its products in a fixed order (channels as in
// pixels_impl.h or amx_pixels_impl.h; taps row by row, in one accumulator), so a result's bits do not depend on strips, tiles
// or threads.
// Tile: for products, that of pixels_impl.h or amx_pixels_impl.h; for filters, kAcross adjacent results x a vector of maps.
// Memory: a ring of (rows - 1) * stride + size padded rows of expanded maps, and a strip of filtered ones. Limit:
// multiply-adds.

#pragma once

#include <string.h>

#include "mbconv_kernel.h"
#include "pixels_impl.h"
#ifdef DCNN_TILES
#include "amx_pixels_impl.h"
#endif

namespace dcnn {
namespace {

constexpr int64_t kPitch = kPanel * Vec::width;        // floats between pixels of a panel of expanded maps
constexpr int64_t kStripFloats = int64_t{64} << 10;    // of a strip, so that it stays in L2
constexpr int64_t kWholeFloats = int64_t{224} << 10;   // of a whole map as one strip, which reads the weights only once

// ---- The filters of the maps.

// X adjacent results; input columns are kPitch floats apart.
template <typename Products, int Size, int Stride, int X>
inline void filter_tile(const float* const* rows, int64_t at, const float* weight, Vec bias, bool bf16, typename Products::Element* to,
                        int64_t to_step) {
  Vec sum[X];
  _Pragma("GCC unroll 8") for (int x = 0; x < X; ++x) sum[x] = Vec::zero();
  for (int i = 0; i < Size; ++i, weight += Size * Vec::width) {
    const float* from = rows[i] + at;
    _Pragma("GCC unroll 8") for (int j = 0; j < Size; ++j) {
      const Vec w = Vec::load(weight + j * Vec::width);
      _Pragma("GCC unroll 8") for (int x = 0; x < X; ++x) sum[x] = Vec::fma(Vec::load(from + (x * Stride + j) * kPitch), w, sum[x]);
    }
  }
  _Pragma("GCC unroll 8") for (int x = 0; x < X; ++x) put_products(relu6(Vec::add(sum[x], bias)), bf16, to + x * to_step);
}

template <typename Products, int Size, int Stride, int X>
inline void filter_tiles(int64_t count, const float* const* rows, int64_t at, const float* weight, Vec bias, bool bf16,
                         typename Products::Element* to, int64_t to_step) {
  if constexpr (X > 1) {
    if (count < X) return filter_tiles<Products, Size, Stride, X - 1>(count, rows, at, weight, bias, bf16, to, to_step);
  }
  filter_tile<Products, Size, Stride, X>(rows, at, weight, bias, bf16, to, to_step);
}

constexpr int kAcross = kPositions > 8 ? 8 : 4;  // adjacent results of a tile

// One row of results of one vector of maps.
template <typename Products, int Size, int Stride>
void filter_row(const float* const* rows, int64_t cols, const float* weight, Vec bias, bool bf16, typename Products::Element* to,
                int64_t to_step) {
  const int64_t tiles = (cols + kAcross - 1) / kAcross;
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t first = t * cols / tiles, last = (t + 1) * cols / tiles;
    filter_tiles<Products, Size, Stride, kAcross>(last - first, rows, first * Stride * kPitch, weight, bias, bf16, to + first * to_step,
                                                  to_step);
  }
}

// The same for any size and stride.
template <typename Products>
void filter_row_of(int64_t size, int64_t stride, const float* const* rows, int64_t cols, const float* weight, Vec bias, bool bf16,
                   typename Products::Element* to, int64_t to_step) {
  if (size == 3 && stride == 1) return filter_row<Products, 3, 1>(rows, cols, weight, bias, bf16, to, to_step);
  if (size == 3 && stride == 2) return filter_row<Products, 3, 2>(rows, cols, weight, bias, bf16, to, to_step);
  if (size == 5 && stride == 1) return filter_row<Products, 5, 1>(rows, cols, weight, bias, bf16, to, to_step);
  if (size == 5 && stride == 2) return filter_row<Products, 5, 2>(rows, cols, weight, bias, bf16, to, to_step);
  for (int64_t x = 0; x < cols; ++x) {
    Vec sum = Vec::zero();
    for (int64_t i = 0; i < size; ++i) {
      for (int64_t j = 0; j < size; ++j) {
        sum = Vec::fma(Vec::load(rows[i] + (x * stride + j) * kPitch), Vec::load(weight + (i * size + j) * Vec::width), sum);
      }
    }
    put_products(relu6(Vec::add(sum, bias)), bf16, to + x * to_step);
  }
}

// ---- Strips.

// The division of result rows into strips, and offsets in scratch, in floats.
struct Strips {
  int64_t rows;           // per strip
  int64_t slots, cols;    // rows of the ring; padded columns
  int64_t kept;           // number of rings: one per panel, kept from strip to strip, or a single one for a single strip
  int64_t ring, filtered, input, places, pointers;
  int64_t floats;
};

// Distance between the pixels of filtered maps, in values.
template <typename Products>
int64_t filtered_step(const MbConvShape& s) {
  return round_up(round_up(s.expanded, Vec::width), Products::kDepth);
}

template <typename Products>
Strips strips_of(const MbConvProblem& p, int64_t rows) {
  const MbConvShape& s = p.shape;
  const Panels panels(s.expanded, Vec::width);
  Strips found{};
  found.cols = (p.out_width - 1) * s.stride + s.size;
  const int64_t filtered = p.out_width * panels.vectors * Vec::width;  // values per row
  const auto slots = [&](int64_t count) { return (count - 1) * s.stride + s.size; };
  const auto fits = [&](int64_t count, int64_t kept, int64_t most) {
    return kept * slots(count) * found.cols * kPitch + count * filtered <= most;
  };
  found.rows = rows;
  found.kept = 1;
  if (!fits(rows, 1, kWholeFloats)) {
    found.kept = panels.count;
    while (found.rows > 1 && !fits(found.rows, found.kept, kStripFloats)) --found.rows;
    const int64_t strips = (rows + found.rows - 1) / found.rows;
    found.rows = (rows + strips - 1) / strips;
  }
  found.slots = slots(found.rows);
  constexpr int64_t kPlace = sizeof(int64_t) / sizeof(float);
  const int64_t pixels = found.slots * p.width;
  found.ring = 0;
  found.filtered = lines(found.kept * found.slots * found.cols * kPitch);
  found.input = found.filtered + room_floats<Products>(found.rows * p.out_width, filtered_step<Products>(s));
  const int64_t step = round_up(s.channels, Products::kDepth);
  found.places = found.input + (s.bf16 && s.expands ? room_floats<Products>(pixels, step) : 0);
  found.pointers = found.places + lines(kPlace * pixels);
  found.floats = found.pointers + lines(kPlace * s.size);
  return found;
}

// The pixels of rows that a strip reads first: as given (x) and in the products' form (read). place: offset of each pixel in
// the ring of a panel, in floats.
template <typename Products>
struct NewPixels {
  int64_t count;
  const float* x;
  const typename Products::Element* read;
  int64_t step;
  const int64_t* place;
};

// Computes one panel of the expanded maps at these pixels. weight: the panel's. next: the weights needed afterwards.
template <typename Products>
void make_panel(const MbConvProblem& p, const NewPixels<Products>& pixels, const Panels& panels, int64_t number, const float* weight,
                const float* next, float* maps) {
  const MbConvShape& s = p.shape;
  const int64_t first = panels.first(number) * Vec::width, vectors = panels.width(number);
  if (s.expands) {
    const Finish finish{p.weights.expand_bias + first, maps, pixels.place, 0, nullptr, true, vectors, Vec::width};
    panel<Products>(vectors, pixels.read, pixels.step, pixels.count, s.channels, weight, next, finish);
    return;
  }
  const int64_t left = s.channels - first, channels = s.channels;
  for (int64_t v = 0; v < vectors; ++v) {
    const int64_t there = left - v * Vec::width < Vec::width ? left - v * Vec::width : Vec::width;
    const float* from = pixels.x + first + v * Vec::width;
    float* const to = maps + v * Vec::width;
    for (int64_t i = 0; i < pixels.count; ++i, from += channels) {
      (there < Vec::width ? Vec::load_first(from, there) : Vec::load(from)).store(to + pixels.place[i]);
    }
  }
}

// Computes one strip: expands its new rows into the ring and filters them, panel after panel, then projects the results.
template <typename Products>
struct Strip {
  typedef typename Products::Element Element;
  const MbConvProblem& p;
  const Strips& strips;
  const Panels panels;
  float* scratch;

  int64_t wide() const { return filtered_step<Products>(p.shape); }
  int64_t row_floats() const { return strips.cols * kPitch; }
  int64_t slot(int64_t row) const { return (row + p.top) % strips.slots; }
  Element* filtered() const { return reinterpret_cast<Element*>(scratch + strips.filtered); }

  // The pixels of map rows [top, bottom), none where bottom <= top.
  NewPixels<Products> pixels(const float* x, int64_t top, int64_t bottom) const {
    int64_t* const place = reinterpret_cast<int64_t*>(scratch + strips.places);
    NewPixels<Products> found{0, x + top * p.width * p.shape.channels, nullptr, 0, place};
    for (int64_t row = top; row < bottom; ++row) {
      const int64_t first = (slot(row) * strips.cols + p.left) * kPitch, width = p.width;
      for (int64_t col = 0; col < width; ++col) place[found.count + col] = first + col * kPitch;
      found.count += width;
    }
    if (p.shape.expands) {
      found.read = read_pixels<Products>(found.x, found.count, p.shape.channels, p.shape.bf16, &found.step, scratch + strips.input);
    }
    return found;
  }

  // Filters a panel of maps for result rows [y, end).
  void filter(int64_t number, int64_t y, int64_t end, const float* maps) const {
    const MbConvShape& s = p.shape;
    const float** const rows = reinterpret_cast<const float**>(scratch + strips.pointers);
    for (int64_t i = 0, v = panels.first(number); i < panels.width(number); ++i, ++v) {
      const Vec bias = Vec::load(p.weights.depthwise_bias + v * Vec::width);
      const float* weight = p.weights.depthwise + v * s.size * s.size * Vec::width;
      for (int64_t row = y; row < end; ++row) {
        for (int64_t tap = 0; tap < s.size; ++tap) rows[tap] = maps + slot(row * s.stride - p.top + tap) * row_floats() + i * Vec::width;
        Element* to = filtered() + (row - y) * p.out_width * wide() + v * Vec::width;
        filter_row_of<Products>(s.size, s.stride, rows, p.out_width, weight, bias, s.bf16, to, wide());
      }
    }
  }

  void make(const float* x, int64_t next, int64_t y, int64_t end) const {
    const MbConvShape& s = p.shape;
    const int64_t bottom = (end - 1) * s.stride - p.top + s.size, below = next > p.height ? next : p.height;
    const NewPixels<Products> found = pixels(x, next > 0 ? next : 0, bottom < p.height ? bottom : p.height);
    const float* weight = p.weights.expand;
    for (int64_t number = 0; number < panels.count; ++number) {
      float* const maps = scratch + (strips.kept > 1 ? number * strips.slots * row_floats() : 0);
      for (int64_t row = below; row < bottom; ++row) {
        memset(maps + slot(row) * row_floats(), 0, static_cast<size_t>(row_floats()) * sizeof(float));
      }
      const int64_t floats = weight == nullptr ? 0 : weight_floats<Products>(s.channels) * panels.width(number) * Vec::width;
      const float* const following = weight + floats;
      make_panel(p, found, panels, number, weight, number + 1 < panels.count ? following : p.weights.project, maps);
      weight = following;
      filter(number, y, end, maps);
    }
  }

  // Projects result rows [y, end) of the block.
  void project(const float* x, int64_t y, int64_t end, float* out) const {
    const MbConvShape& s = p.shape;
    const int64_t pixels = (end - y) * p.out_width, rest = round_up(s.expanded, Products::kDepth) - s.expanded;
    // Clears the padding of the last step: an infinity in the input makes NaN in lanes past the maps, and NaN times a weight of
    // 0 is NaN.
    for (int64_t i = 0; rest > 0 && i < pixels; ++i) {
      memset(filtered() + i * wide() + s.expanded, 0, static_cast<size_t>(rest) * sizeof(Element));
    }
    const Panels outputs(s.filters, Vec::width);
    const float* weight = p.weights.project;
    for (int64_t number = 0; number < outputs.count; ++number) {
      const int64_t first = outputs.first(number) * Vec::width, vectors = outputs.width(number);
      const int64_t left = s.filters - first - (vectors - 1) * Vec::width, at = y * p.out_width * s.filters + first;
      const Finish finish{p.weights.project_bias + first, out + at, nullptr, s.filters, s.residual ? x + at : nullptr, false, vectors,
                          left < Vec::width ? left : Vec::width};
      const float* const following = weight + weight_floats<Products>(s.expanded) * vectors * Vec::width;
      const bool another = number + 1 < outputs.count, last = end == p.out_height && p.next != nullptr;
      const float* const next = another ? following : last ? p.next : p.weights.project;
      panel<Products>(vectors, filtered(), wide(), pixels, s.expanded, weight, next, finish);
      weight = following;
    }
  }
};

template <typename Products>
void strip_rows(const MbConvProblem& p, const float* x, float* out, int64_t first, int64_t last, float* scratch) {
  const Strips strips = strips_of<Products>(p, last - first);
  const Strip<Products> strip{p, strips, Panels(p.shape.expanded, Vec::width), scratch};
  [[maybe_unused]] const InUse<Products> in_use;
  // The padding of the maps stays zero.
  memset(scratch, 0, static_cast<size_t>(strips.kept * strips.slots * strip.row_floats()) * sizeof(float));
  int64_t next = first * p.shape.stride - p.top;  // first row that no strip has read yet
  for (int64_t y = first; y < last; y += strips.rows) {
    const int64_t end = y + strips.rows < last ? y + strips.rows : last;
    strip.make(x, next, y, end);
    strip.project(x, y, end, out);
    next = (end - 1) * p.shape.stride - p.top + p.shape.size;
  }
}

// Calls `use` with the form of products.
template <typename Use>
auto with_products(bool bf16, int64_t fewest_inputs, const Use& use) {
  switch (pixel_products(kBf16, bf16, fewest_inputs)) {
#ifdef DCNN_TILES
    case Bf16::tiles: return use(Tiled{});
#endif
#ifdef DCNN_BF16_PAIRS
    case Bf16::pairs: return use(Pairs{});
#endif
    default: return use(Single{});  // of rounded values for bf16
  }
}

size_t mbconv_scratch(const MbConvProblem& p, int64_t rows) {
  return with_products(p.shape.bf16, p.shape.fewest_inputs(), [&](auto products) {
    return static_cast<size_t>(strips_of<decltype(products)>(p, rows).floats);
  });
}

void mbconv_rows(const MbConvProblem& p, const float* x, float* out, int64_t first, int64_t last, float* scratch) {
  with_products(p.shape.bf16, p.shape.fewest_inputs(), [&](auto products) {
    strip_rows<decltype(products)>(p, x, out, first, last, scratch);
  });
}

size_t pixels_scratch(const PixelLayer& layer, int64_t count) {
  return with_products(layer.bf16, layer.inputs, [&](auto products) {
    typedef decltype(products) Products;
    return static_cast<size_t>(layer.bf16 ? room_floats<Products>(count, round_up(layer.inputs, Products::kDepth)) : 0);
  });
}

void run_pixels(const PixelLayer& layer, const float* x, int64_t count, float* out, float* scratch) {
  with_products(layer.bf16, layer.inputs, [&](auto products) {
    layer_pixels<decltype(products)>(layer, x, count, out, scratch);
  });
}

const MbConvKernels& mbconv() {
  static const MbConvKernels kernels{Vec::width, mbconv_scratch, mbconv_rows, pixels_scratch, run_pixels};
  return kernels;
}

}  // namespace
}  // namespace dcnn
