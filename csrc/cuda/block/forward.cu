// The block's forward, hand-staged: conv -> bias -> ReLU -> [pool, norm across maps, either order] over a list of regions, or with
// the ReLU behind both. What follows the convolution: tail.cuh.
//
// A thread block goes down strips, a step of a few rows at a time, its input patch staged in shared memory and read from there
// by every filter tap. Tile: 256 outputs of 64 filters on 4 warps. Memory: 79 KB of shared memory for block 1, 88 KB for block 2,
// up to 252 registers. Limit, by the model: the tensor cores, on an H100 shared memory. The design, with its figures:
// csrc/cuda/README.md.
#include "block/patch.cuh"

namespace dcnn {

// From a unit to the next where that is the same for all even ones, which is unless SPAN is odd.
constexpr int APART = place_of(1);
constexpr bool REGULAR = SPAN == 1 || SPAN % 2 == 0;

// Sixteen filters of one step.
template <int STEP, int SIXTEEN>
__device__ __forceinline__ void multiply_filters(float (&sums)[TILES][PART / 8][4], const unsigned (&a)[TILES][4], unsigned weights) {
    if constexpr (SIXTEEN < PART / 16) {
        unsigned b[4];
        load_matrices<(STEP * PART + SIXTEEN * 16) * 32>(b, weights);
#pragma unroll
        for (int tile = 0; tile < TILES; ++tile) {
            multiply_add<BF16>(sums[tile][2 * SIXTEEN], a[tile], b[0], b[1]);
            multiply_add<BF16>(sums[tile][2 * SIXTEEN + 1], a[tile], b[2], b[3]);
        }
        multiply_filters<STEP, SIXTEEN + 1>(sums, a, weights);
    }
}

// The steps of a stage: products of [16 * TILES outputs, 16] and [16, PART] a warp. In the last step pixels beyond the filter's
// row meet weights of zero; those of an output to the right, they may be NaN or infinite, and are made zeros.
template <int STEP = 0>
__device__ __forceinline__ void multiply(float (&sums)[TILES][PART / 8][4], const unsigned (&outputs)[TILES], unsigned weights) {
    if constexpr (STEP < STEPS) {
        constexpr int LOW = place_of(2 * STEP), HIGH = place_of(2 * STEP + 1) - APART;
        unsigned a[TILES][4];
#pragma unroll
        for (int tile = 0; tile < TILES; ++tile) {
            if constexpr (REGULAR) {
                load_matrices<LOW>(a[tile], outputs[tile]);
            } else {
                load_matrices<0>(a[tile], outputs[tile] + static_cast<unsigned>(threadIdx.x / 16 % 2 ? HIGH : LOW));
            }
        }
        if constexpr (STEP == STEPS - 1 && LAST < 16 && !BYTES) {
#pragma unroll
            for (int tile = 0; tile < TILES; ++tile) {
#pragma unroll
                for (int n = 0; n < 4; ++n) {
                    if (n / 2 * 8 + static_cast<int>(threadIdx.x) % 4 * 2 >= LAST) a[tile][n] = 0;
                }
            }
        }
        multiply_filters<STEP, 0>(sums, a, weights);
        multiply<STEP + 1>(sums, outputs, weights);
    }
}

}  // namespace dcnn

using namespace dcnn;

extern "C" __global__ void __launch_bounds__(THREADS, 2) block_fwd_strip_kernel(
    const StripRow* __restrict__ strips, int count,  // shared out between the thread blocks in order
    const RegionRow* __restrict__ regions, const PieceRow* __restrict__ pieces, const StoreRow* __restrict__ stores,
    const SourceRow* __restrict__ sources, const OutputRow* __restrict__ outputs,
    const char* __restrict__ weight,  // [parts, CHUNKS, SIZE, STEPS, PART, 16] 16-bit, each 16 x 16 of them as matrices: packed()
    const float* __restrict__ bias,   // [parts * PART]
    const float* __restrict__ mean,   // [CHUNKS * PIXEL], or anything where SUBTRACT is not set
    float scale, float norm_scale, float norm_power, float norm_k) {
#if __CUDA_ARCH__ >= 800  // an older target compiles to nothing
    extern __shared__ __align__(128) unsigned char memory[];
    const unsigned patches = shared_address(memory);
    const unsigned staged = patches + 2 * PATCH_BYTES, ring = staged + 2 * STAGE_BYTES;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const Tables tables{regions, sources};
    const Rest rest{pieces, stores, outputs, norm_scale, norm_power, norm_k};

    int at = narrow(static_cast<int64_t>(count) * blockIdx.x / gridDim.x);
    const int end = narrow(static_cast<int64_t>(count) * (blockIdx.x + 1) / gridDim.x);
    if (at == end) return;
    weight += static_cast<int64_t>(blockIdx.y) * STAGES * STAGE_BYTES;

    StripRow strip = strips[at];
    Patch patch;
    Fetched fetched;
    float first_means[MEANS];  // where there is one unit of channels alone
    load_means(first_means, mean);
    begin(patch, tables, strip, 0, 0);
    for (int row = 0; row < SIZE; ++row) {
        fetch(patch, patches, fetched);
        settle(patch, fetched, mean, first_means, scale);
    }
    const unsigned share = threadIdx.x * 16;
    stage_weights(staged + share, weight + share);
    int stage = 0;   // whose weights are in buffer `stage_side`
    int side = 0, stage_side = 0;
    int row = 0;

    while (true) {
        const int cols = narrow(strip.cols), rows = min(narrow(strip.step), narrow(strip.rows) - row);
        const bool last = row + rows == narrow(strip.rows);
        const int pitch = pitch_of(cols);
        unsigned places[TILES];
#pragma unroll
        for (int tile = 0; tile < TILES; ++tile) {
            // Beyond the step's outputs the last is computed again.
            const int output = min((tile * WARPS + warp) * 16 + lane % 16, rows * cols - 1);
            places[tile] = (output / cols * pitch + output % cols) * 16 + lane / 16 * APART;
        }
        float sums[TILES][PART / 8][4] = {};

        for (int chunk = 0; chunk < CHUNKS; ++chunk) {
            const bool final = chunk == CHUNKS - 1 && last && at + 1 == end;
            if (chunk < CHUNKS - 1) {
                begin(patch, tables, strip, row, chunk + 1);
            } else if (!last) {
                begin(patch, tables, strip, row + rows, 0);
            } else if (!final) {
                const StripRow next = strips[at + 1];
                begin(patch, tables, next, 0, 0);
            }
            if (final) patch.rows = 0;
            for (int tap_row = 0; tap_row < SIZE; ++tap_row) {
                wait_copies();
                __syncthreads();
                stage = stage + 1 == STAGES ? 0 : stage + 1;
                if (!(final && tap_row == SIZE - 1)) {
                    stage_weights(staged + (stage_side ^ 1) * STAGE_BYTES + share, weight + stage * STAGE_BYTES + share);
                }
                fetch(patch, patches + (side ^ 1) * PATCH_BYTES, fetched);
                const unsigned tap = patches + side * PATCH_BYTES +
                                     (tap_row / STRIDE * pitch + tap_row % STRIDE * (cols + REACH)) * 16;
                unsigned rows_of_tap[TILES];
#pragma unroll
                for (int tile = 0; tile < TILES; ++tile) rows_of_tap[tile] = places[tile] + tap;
                multiply(sums, rows_of_tap, staged + stage_side * STAGE_BYTES + lane * 16);
                settle(patch, fetched, mean, first_means, scale);
                stage_side ^= 1;
            }
            side ^= 1;
        }

        const RegionRow& region = regions[strip.region];
        const int ring_rows = narrow(strip.step) + POOL - 1;
#pragma unroll
        for (int tile = 0; tile < TILES; ++tile) {
#pragma unroll
            for (int upper = 0; upper < 2; ++upper) {
                const int output = (tile * WARPS + warp) * 16 + lane / 4 + 8 * upper;
                if (output >= rows * cols) continue;
                const int place = (row + output / cols) % ring_rows * cols + output % cols;
#pragma unroll
                for (int eight = 0; eight < PART / 8; ++eight) {
                    const float2 add = *reinterpret_cast<const float2*>(bias + blockIdx.y * PART + eight * 8 + lane % 4 * 2);
                    const float first = sums[tile][eight][2 * upper] + add.x, second = sums[tile][eight][2 * upper + 1] + add.y;
                    store_shared(ring + place_in_ring(place, eight) + lane % 4 * 4,
                                 rounded<BF16>(kept(first), kept(second)));
                }
            }
        }
        __syncthreads();
        if constexpr (NORM_SIZE > 0 && NORM_FIRST) {
            normalise_step(rest, ring, ring_rows, row, rows, cols);
            __syncthreads();
        }
        const int from = max(0, row - (POOL - 1));
        row += rows;
        const int until = last ? narrow(strip.own_rows) : min(narrow(strip.own_rows), max(0, row - (POOL - 1)));
        emit(strip, region, rest, ring, ring_rows, from, until);
        if (last) {
            if (++at == end) break;
            strip = strips[at];
            row = 0;
        }
    }
#endif
}
