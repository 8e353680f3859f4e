// The interface of every instruction set's kernels: problems, tables and entry points.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/tables.h"
#include "core/tile.h"

namespace dcnn {

// One tensor [images, channels, height, width] of bytes or floats; strides in elements.
struct Source {
  const void* data;
  bool bytes;
  int64_t channel_stride, row_stride, col_stride, image_stride;
};

// One output [images, filters, height, width] in channels_last memory.
struct Output {
  float* data;
  int64_t images, height, width;
};

enum class Norm : int { none = 0, cross_map = 1, same_map = 2 };

struct BlockProblem {
  const Source* sources;
  const PieceRow* pieces;
  const StoreRow* stores;
  const Output* outputs;
  const float* weight;  // packed by pack_weight
  const float* bias;    // padded_filters() values
  const float* mean;    // channels values
  float scale;
  int64_t channels, filters, size, stride, groups, pool_size, pool_stride;
  Norm norm;
  int64_t norm_size;
  float norm_scale, norm_power, norm_k;  // norm_scale is already divided by the norm window's size
  bool norm_first;
  Precision precision;
  bool taps_only;  // every output is a sum over its taps, so that equal inputs give equal outputs
  bool linear;     // without the ReLU
  bool pool_average;  // pools average the pool window's existing outputs instead of taking the largest
  bool relu_last;     // the ReLU follows pool and norm; the convolution is `linear`
  // Kept for a backward (backward_impl.h), null otherwise; only for regions that are whole images with one piece each.
  uint16_t* hits;  // [images, rows, cols, filters], of pooled results
  float* values;   // the same shape: the following norm's input

  __attribute__((always_inline)) int64_t group_channels() const { return channels / groups; }
  __attribute__((always_inline)) int64_t group_filters() const { return filters / groups; }
};

// Taps per axis where the convolution is computed in tiles (core/tile.h); 0 where every output is a sum over its taps.
static inline int64_t winograd_taps(const BlockProblem& p, Bf16 bf16) {
  return p.taps_only ? 0 : winograd_taps({p.size, p.stride, p.group_channels(), p.group_filters()}, p.precision, bf16);
}

// The points are 0, infinity, and these with both signs.
constexpr double winograd_points6[] = {0.75, 1.5};
constexpr double winograd_points8[] = {0.5, 1.0, 1.75};

// x and weight are floats or, with `bf16`, bfloat16.
struct LinearProblem {
  const void* x;        // [rows, inputs]
  const void* weight;   // [outputs, inputs]
  const float* bias;    // [outputs]
  float* y;             // [rows, outputs]
  int64_t rows, inputs, outputs;
  bool relu;
  bool bf16;
  const float* packed_rows;  // result of pack_rows, where the instruction set has one
};

struct GradientKernels;  // gradient.h
struct MbConvKernels;    // mbconv_kernel.h

// The kernels of one instruction set. Results depend on nothing else: not on the region of an output, the number of threads, or
// the other rows of a product.
struct Isa {
  const char* name;
  // Returns null, or a sentence that says why this instruction set does not run here.
  const char* (*refusal)();
  // The block size in which filters are packed; each group starts a block.
  int64_t filter_block;
  // Sets that multiply floats round a block's operands and have no bf16 `linear`.
  Bf16 bf16;
  // Floats of scratch for a region.
  size_t (*region_scratch)(const BlockProblem&, const RegionRow&);
  void (*region)(const BlockProblem&, const RegionRow&, float* scratch);
  const GradientKernels& (*gradients)();
  const MbConvKernels& (*mbconv)();
  // Floats of scratch for outputs [first, last) of a product.
  size_t (*linear_scratch)(const LinearProblem&, int64_t first, int64_t last);
  void (*linear)(const LinearProblem&, int64_t first, int64_t last, float* scratch);
  // Runs multiply-adds in registers alone and returns the number of operations. sink: takes a vector.
  double (*peak)(int64_t rounds, float* sink);
  // Floats of packed rows, and the packing of a bf16 product's rows, once for all its outputs; null where packing is not
  // needed.
  size_t (*rows_floats)(const LinearProblem&) = nullptr;
  void (*pack_rows)(const LinearProblem&, float* packed) = nullptr;
};

const Isa& portable_isa();
#ifdef DCNN_X86
const Isa& avx2_isa();
const Isa& avx512_isa();
const Isa& avx512_bf16_isa();
const Isa& amx_isa();
const Isa& amx_emulated_isa();

// Computes C += A * B in the software tile unit: `config` is the 64 bytes of LDTILECFG; tiles 0, 1 and 2 are C, A and B, with
// rows 64 bytes apart. Throws std::logic_error where a processor would fault.
void emulated_tile_product(const void* config, const void* a, const void* b, float* c);
#endif

// Rounds to nearest even; NaN stays NaN.
static inline uint16_t to_bf16(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline float from_bf16(uint16_t value) {
  const uint32_t bits = static_cast<uint32_t>(value) << 16;
  float result;
  __builtin_memcpy(&result, &bits, sizeof result);
  return result;
}

// value = high + low, with an error from rounding the lower part: at most 2^-17 of value (0 below an infinity or NaN).
static inline void split_bf16(float value, uint16_t* high, uint16_t* low) {
  *high = to_bf16(value);
  *low = (*high & 0x7f80) == 0x7f80 ? uint16_t{0} : to_bf16(value - from_bf16(*high));
}

static inline int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

// Filters of all groups, each group padded to whole blocks.
static inline int64_t padded_filters(const BlockProblem& p, int64_t block) {
  return p.groups * round_up(p.group_filters(), block);
}

}  // namespace dcnn
