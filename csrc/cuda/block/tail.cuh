// What follows the convolution in the hand-staged block: the ring of its last outputs in shared memory, pool, norm across maps and
// a ReLU that comes last, and the stores of what is complete.
//
// Tile: a step's rows of outputs; eight filters of an output are a lane's, PART / 8 lanes an output's. Memory: the ring, RING outputs
// of PART filters in 16 bits, 39 KB in the presets' blocks 1 and 2. Limit: shared memory reads, POOL * POOL a result and lane; a norm
// adds two approximate functions a filter.
#pragma once
#include "block/shape.cuh"

namespace dcnn {

__host__ __device__ constexpr int power_of_two(int count) {
    int result = 1;
    while (result < count) result *= 2;
    return result;
}

constexpr int LANES = power_of_two(OCTETS);  // that share an output's filters

// Where eight filters of an output lie in the ring. Outputs beside each other have them in other groups of banks: moved about
// within the output where a power of two of them fill whole rows of banks, else by 16 bytes between outputs.
__device__ __forceinline__ unsigned place_in_ring(int output, int octet) {
    if constexpr (LANES == OCTETS) {
        constexpr int BESIDE = OCTETS < 8 ? 8 / OCTETS : 1;  // outputs in a row of banks
        return output * (PART * 2) + (octet ^ (output / BESIDE & (OCTETS < 8 ? OCTETS - 1 : 7))) * 16;
    } else {
        return output * (PART * 2 + 16) + octet * 16;
    }
}

__device__ __forceinline__ int narrow(int64_t value) { return static_cast<int>(value); }

// Eight filters of an output under the norm; the lanes beside have the others. All lanes of the warp take part.
__device__ __forceinline__ void normalise(Half2 (&values)[4], float scale, float power, float k) {
    constexpr int MAPS_BEFORE = NORM_SIZE / 2, MAPS_AFTER = NORM_SIZE - 1 - NORM_SIZE / 2;
    constexpr int FAR = ((MAPS_BEFORE > MAPS_AFTER ? MAPS_BEFORE : MAPS_AFTER) + 7) / 8;  // lanes
    const int lane = threadIdx.x % 32, octet = lane % LANES;
    float squares[8 * (2 * FAR + 1)], own[8];
#pragma unroll
    for (int away = -FAR; away <= FAR; ++away) {
        const bool exists = octet + away >= 0 && octet + away < OCTETS;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const Half2 pair = away == 0 ? values[i] : from_lane(values[i], (lane + away) & 31);
#pragma unroll
            for (int part = 0; part < 2; ++part) {
                const float value = widened<BF16>(static_cast<unsigned short>(pair >> (16 * part)));
                squares[8 * (away + FAR) + 2 * i + part] = exists ? value * value : 0.0f;
                if (away == 0) own[2 * i + part] = value;
            }
        }
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        float sum = 0.0f;
#pragma unroll
        for (int map = -MAPS_BEFORE; map <= MAPS_AFTER; ++map) sum += squares[8 * FAR + i + map];
        own[i] *= exp2_approximate(-power * log2_approximate(k + scale * sum));
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) values[i] = rounded<BF16>(own[2 * i], own[2 * i + 1]);
}

// What the ring has of an output: the value itself before a ReLU that comes last, otherwise behind the ReLU, which keeps a NaN.
__device__ __forceinline__ float kept(float value) { return !RELU_LAST && value < 0.0f ? 0.0f : value; }

// Eight filters' average over the window from row i and column j on, which ends with the region: summed in single precision.
__device__ __forceinline__ void average(Half2 (&values)[4], unsigned ring, int ring_rows, int cols, int last_row, int i, int j,
                                        int octet) {
    float sums[8] = {};
#pragma unroll
    for (int y = 0; y < POOL; ++y) {
        if (i + y > last_row) break;
        const int row = (i + y) % ring_rows * cols;
#pragma unroll
        for (int x = 0; x < POOL; ++x) {
            if (j + x >= cols) break;
            Half2 other[4];
            load_shared(other, ring + place_in_ring(row + j + x, octet));
#pragma unroll
            for (int n = 0; n < 8; ++n) sums[n] += widened<BF16>(static_cast<unsigned short>(other[n / 2] >> (n % 2 * 16)));
        }
    }
    const float count = static_cast<float>(min(last_row + 1 - i, POOL) * min(cols - j, POOL));
#pragma unroll
    for (int n = 0; n < 4; ++n) values[n] = rounded<BF16>(sums[2 * n] / count, sums[2 * n + 1] / count);
}

struct Rest {
    const PieceRow* pieces;
    const StoreRow* stores;
    const OutputRow* outputs;
    float norm_scale, norm_power, norm_k;
};

// The norm of a step's rows x cols outputs, of which the first is in row `row` of the strip, in the ring. All threads take part.
__device__ __forceinline__ void normalise_step(const Rest& rest, unsigned ring, int ring_rows, int row, int rows, int cols) {
    const int octet = threadIdx.x % LANES;
    for (int base = 0; base < rows * cols; base += THREADS / LANES) {
        const int output = base + static_cast<int>(threadIdx.x) / LANES;
        const bool own = output < rows * cols && octet < OCTETS;
        const unsigned place = ring + place_in_ring((row + output / cols) % ring_rows * cols + output % cols, octet);
        Half2 values[4] = {};
        if (own) load_shared(values, place);
        normalise(values, rest.norm_scale, rest.norm_power, rest.norm_k);
        if (own) store_shared(place, values[0], values[1], values[2], values[3]);
    }
}

// What a step's outputs make complete: rows [from, until) of pool windows' starts that this strip owns.
__device__ __forceinline__ void emit(const StripRow& strip, const RegionRow& region, const Rest& rest, unsigned ring, int ring_rows,
                                     int from, int until) {
    const int lane = threadIdx.x % 32, octet = lane % LANES;
    const int cols = narrow(strip.cols), last_row = narrow(strip.rows) - 1;
    const int filter = blockIdx.y * PART + octet * 8;
    for (int p = 0; p < narrow(region.count); ++p) {
        const PieceRow& piece = rest.pieces[region.first + p];
        // The piece's windows among them: rows [first, first + down), columns [left, left + right).
        const int above = narrow(strip.row) + from - narrow(piece.top), beside = narrow(strip.col) - narrow(piece.left);
        const int first = above <= 0 ? 0 : (above + POOL_STRIDE - 1) / POOL_STRIDE;
        const int left = beside <= 0 ? 0 : (beside + POOL_STRIDE - 1) / POOL_STRIDE;
        const int bottom = narrow(strip.row) + until - narrow(piece.top), edge = beside + narrow(strip.own_cols);
        const int down = min(narrow(piece.rows), bottom <= 0 ? 0 : (bottom + POOL_STRIDE - 1) / POOL_STRIDE) - first;
        const int right = min(narrow(piece.cols), edge <= 0 ? 0 : (edge + POOL_STRIDE - 1) / POOL_STRIDE) - left;
        if (down <= 0 || right <= 0) continue;
        for (int base = 0; base < down * right; base += THREADS / LANES) {
            const int window = base + threadIdx.x / LANES;
            const bool taken = window < down * right && octet < OCTETS;
            const int k = taken ? first + window / right : first, l = taken ? left + window % right : left;
            const int i = narrow(piece.top) + k * POOL_STRIDE - narrow(strip.row);
            const int j = narrow(piece.left) + l * POOL_STRIDE - narrow(strip.col);
            Half2 values[4];
            if constexpr (AVERAGE) {
                average(values, ring, ring_rows, cols, last_row, i, j, octet < OCTETS ? octet : 0);
            } else {
#pragma unroll
                for (int y = 0; y < POOL; ++y) {
                    const int row = min(i + y, last_row) % ring_rows * cols;  // one beyond the edge is the edge's again
#pragma unroll
                    for (int x = 0; x < POOL; ++x) {
                        Half2 other[4];
                        load_shared(other, ring + place_in_ring(row + min(j + x, cols - 1), octet < OCTETS ? octet : 0));
#pragma unroll
                        for (int n = 0; n < 4; ++n) values[n] = x + y == 0 ? other[n] : larger<BF16>(values[n], other[n]);
                    }
                }
            }
            if constexpr (NORM_SIZE > 0 && !NORM_FIRST) normalise(values, rest.norm_scale, rest.norm_power, rest.norm_k);
            if constexpr (RELU_LAST) {
#pragma unroll
                for (int n = 0; n < 4; ++n) values[n] = larger<BF16>(values[n], 0);
            }
            if (!taken || filter >= FILTERS) continue;
            for (int s = 0; s < narrow(piece.count); ++s) {
                const StoreRow& store = rest.stores[piece.first + s];
                const int y = k - narrow(store.skip_top), x = l - narrow(store.skip_left);
                if (y < 0 || y >= narrow(store.height) || x < 0 || x >= narrow(store.width)) continue;
                const OutputRow& output = rest.outputs[store.output];
                const int64_t place = (store.image * output.rows + store.out_top + y) * output.cols + store.out_left + x;
                unsigned short* target = reinterpret_cast<unsigned short*>(output.address) + place * FILTERS + filter;
                if constexpr (WIDE_STORES && FILTERS % 8 == 0) {
                    *reinterpret_cast<uint4*>(target) = make_uint4(values[0], values[1], values[2], values[3]);
                } else {
#pragma unroll
                    for (int n = 0; n < 8; ++n) {
                        if (filter + n < FILTERS) target[n] = static_cast<unsigned short>(values[n / 2] >> (n % 2 * 16));
                    }
                }
            }
        }
    }
}

}  // namespace dcnn
