// The block's forward, simply: the kernel that forward.cu is measured against. Every product is read from global memory.
//
// Tile: one result of all filters, a thread a filter. Memory: nothing is staged; a norm's maps, 4 bytes a filter, are shared. Limit:
// loads, two a multiply-add.
#include "block/problem.cuh"
#include "intrinsics.cuh"
#include "core/tables.h"

using namespace dcnn;

__device__ float as_number(Half2 pair) { return widened<BF16>(static_cast<unsigned short>(pair)); }

__device__ float in_16_bits(float value) { return as_number(rounded<BF16>(value, 0.0f)); }

// ReLU that keeps a NaN.
__device__ float positive(float value) { return value < 0.0f ? 0.0f : value; }

// One output of the convolution with its bias and, unless that comes last, the ReLU.
__device__ float output_of(const RegionRow& region, const SourceRow& source, const unsigned short* weight, float bias,
                           const float* mean, float scale, int64_t i, int64_t j) {
    float sum = 0.0f;
    for (int y = 0; y < SIZE; ++y) {
        for (int x = 0; x < SIZE; ++x) {
            const int64_t row = region.top + i * STRIDE + y, col = region.left + j * STRIDE + x;
            if (row < region.window_top || row >= region.window_top + region.window_height) continue;
            if (col < region.window_left || col >= region.window_left + region.window_width) continue;
            for (int c = 0; c < CHANNELS; ++c) {
                const int64_t at = region.image * source.image + row * source.row + col * source.col + c * source.channel;
                const float pixel = BYTES ? static_cast<float>(reinterpret_cast<const unsigned char*>(source.address)[at])
                                          : as_number(reinterpret_cast<const unsigned short*>(source.address)[at]);
                sum += in_16_bits((pixel - mean[c]) * scale) * as_number(weight[(c * SIZE + y) * SIZE + x]);
            }
        }
    }
    sum += bias;
    return in_16_bits(RELU_LAST ? sum : positive(sum));
}

// `value` under the norm across the maps of all threads.
__device__ float normalised(float value, float* maps, float scale, float power, float k) {
    const int filter = threadIdx.x;
    __syncthreads();
    if (filter < FILTERS) maps[filter] = value;
    __syncthreads();
    float sum = 0.0f;
    const int end = min(FILTERS, filter - NORM_SIZE / 2 + NORM_SIZE);
    for (int map = max(0, filter - NORM_SIZE / 2); map < end; ++map) sum += maps[map] * maps[map];
    return value * exp2_approximate(-power * log2_approximate(k + scale * sum));
}

extern "C" __global__ void block_fwd_simple_kernel(
    const ResultRow* results,  // a thread block's each
    const RegionRow* regions, const PieceRow* pieces, const StoreRow* stores, const SourceRow* sources,
    const OutputRow* outputs,
    const unsigned short* weight,  // [FILTERS, CHANNELS, SIZE, SIZE]
    const float* bias, const float* mean, float scale, float norm_scale, float norm_power, float norm_k) {
#if __CUDA_ARCH__ >= 800  // the block's kernels are for these; an older target compiles to nothing
    __shared__ float maps[FILTERS];
    const int filter = threadIdx.x;
    const bool exists = filter < FILTERS;
    const ResultRow own = results[blockIdx.x];
    const RegionRow region = regions[own.region];
    const PieceRow piece = pieces[own.piece];
    const SourceRow source = sources[region.source];
    float result = RELU_LAST && !AVERAGE ? -__uint_as_float(0x7f800000u) : 0.0f;  // infinity, or what has passed the ReLU
    int count = 0;
    for (int y = 0; y < POOL; ++y) {
        for (int x = 0; x < POOL; ++x) {
            const int64_t i = piece.top + own.row * POOL_STRIDE + y, j = piece.left + own.col * POOL_STRIDE + x;
            if (i >= region.rows || j >= region.cols) continue;
            float value = 0.0f;
            if (exists) {
                value = output_of(region, source, weight + filter * (CHANNELS * SIZE * SIZE), bias[filter], mean, scale, i, j);
            }
            if (NORM_SIZE > 0 && NORM_FIRST) value = normalised(value, maps, norm_scale, norm_power, norm_k);
            if (AVERAGE) {
                result += value;
            } else if (result == result && !(value <= result)) {
                result = value;  // a NaN is taken and stays
            }
            ++count;
        }
    }
    if (AVERAGE) result /= static_cast<float>(count);
    if (NORM_SIZE > 0 && !NORM_FIRST) result = normalised(result, maps, norm_scale, norm_power, norm_k);
    if (RELU_LAST) result = positive(result);
    if (!exists) return;
    for (int64_t s = piece.first; s < piece.first + piece.count; ++s) {
        const StoreRow store = stores[s];
        const int64_t y = own.row - store.skip_top, x = own.col - store.skip_left;
        if (y < 0 || y >= store.height || x < 0 || x >= store.width) continue;
        const OutputRow output = outputs[store.output];
        const int64_t place = (store.image * output.rows + store.out_top + y) * output.cols + store.out_left + x;
        reinterpret_cast<unsigned short*>(output.address)[place * FILTERS + filter] =
            static_cast<unsigned short>(rounded<BF16>(result, 0.0f));
    }
#endif
}
