// The hand-staged block's forward (forward.cu) for sm_90a, whose products are those of warp groups.
//
// Filters are the rows of a product and outputs its columns, which the tensor cores read from the staged patch themselves, by a
// descriptor for each tap; weights come by bulk copies and go through registers. Tile: PACK * PRODUCTS * GROUPS rows of outputs, of
// 64 filters. Limit, by the model: the tensor cores. The design, with its figures: csrc/cuda/README.md.
#ifndef GROUPS  // warp groups
#define GROUPS 2
#endif
#define WARPS (4 * GROUPS)

#include "block/patch.cuh"
#include "warpgroup.cuh"

#ifndef COLUMNS  // outputs of a product: 56 or 64
#define COLUMNS 56
#endif
#ifndef PACK  // rows of outputs in a product, as far as its columns reach
#define PACK 1
#endif
#ifndef PRODUCTS  // of a warp group, below each other
#define PRODUCTS 3
#endif

namespace dcnn {

static_assert(PART == 64, "the rows of a product");
static_assert(SPAN == 1 || SPAN % 2 == 0, "halves of 16 products must lie equally far apart");
static_assert(!RELU_LAST, "results are kept behind their ReLU");
static_assert(BYTES || LAST == 16, "what lies beyond a filter's row meets weights of zero, and may be NaN");

// The weights on their way: stage n of all that this thread block multiplies has place n % DEPTH, and two barriers: one for their
// coming, one for their having been used by all warps.
struct Arrivals {
    static constexpr int DEPTH = 4;  // stages there is place for
    static constexpr int AHEAD = 2;  // of the stage that is multiplied, the one that is sent for

    unsigned places, barriers;

    __device__ __forceinline__ unsigned place(unsigned n) const { return places + n % DEPTH * STAGE_BYTES; }
    __device__ __forceinline__ unsigned here(unsigned n) const { return barriers + n % DEPTH * 8; }
    __device__ __forceinline__ unsigned used(unsigned n) const { return barriers + (DEPTH + n % DEPTH) * 8; }
    __device__ __forceinline__ static unsigned parity(unsigned n) { return n / DEPTH % 2; }

    // By one thread.
    __device__ __forceinline__ void make() const {
        for (int n = 0; n < DEPTH; ++n) {
            make_barrier(here(n), 1);
            make_barrier(used(n), WARPS);
        }
        publish_barriers();
    }

    // By one thread.
    __device__ __forceinline__ void send_for(unsigned n, const char* source) const {
        wait_turn(used(n), parity(n) ^ 1);
        start_bulk_copy(place(n), source, STAGE_BYTES, here(n));
    }

    __device__ __forceinline__ void wait(unsigned n) const { wait_turn(here(n), parity(n)); }
};

using Sums = float[PRODUCTS][COLUMNS / 2];
using Weights = unsigned[STEPS][4];

// This warp's 16 filters of a stage.
template <int STEP = 0>
__device__ __forceinline__ void load_weights(Weights& a, unsigned weights) {
    if constexpr (STEP < STEPS) {
        unsigned found[4];
        load_matrices<STEP * PART * 32>(found, weights);
        a[STEP][0] = found[0];
        a[STEP][1] = found[2];
        a[STEP][2] = found[1];
        a[STEP][3] = found[3];
        load_weights<STEP + 1>(a, weights);
    }
}

// Starts the products of a stage. places: where each product's first pixel lies for this row of taps, described.
template <int STEP = 0>
__device__ __forceinline__ void multiply(Sums& sums, const Weights& a, const u64 (&places)[PRODUCTS]) {
    if constexpr (STEP < STEPS) {
#pragma unroll
        for (int i = 0; i < PRODUCTS; ++i) start_product<BF16>(sums[i], a[STEP], placed(places[i], place_of(2 * STEP)));
        multiply<STEP + 1>(sums, a, places);
    }
}

// Two outputs of a filter as they are kept.
__device__ __forceinline__ Half2 finished(float first, float second, float add) {
    return larger<BF16>(rounded<BF16>(first + add, second + add), 0);  // a NaN stays
}

// Bias, ReLU and rounding of this warp's filters, and into the ring; what was computed beyond the step's outputs goes to `nowhere`,
// of this warp alone. row: of the strip, the step's first; first: the warp group's first of the step's `rows`.
__device__ __forceinline__ void keep(const Sums& sums, const float* bias, unsigned ring, int ring_rows, unsigned nowhere, int row,
                                     int first, int rows, int cols, int pitch) {
    const int warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32, octet = 2 * warp + lane / 8 % 2;
    const float low = bias[warp * 16 + lane / 4], high = bias[warp * 16 + lane / 4 + 8];
    nowhere += lane % 16 * 16;
#pragma unroll
    for (int i = 0; i < PRODUCTS; ++i) {
        const int top = first + i * PACK;
        const int start = (row + top) % ring_rows * cols + lane % 8;
        const unsigned start_place = ring + place_in_ring(start, octet);
#pragma unroll
        for (int eight = 0; eight < COLUMNS / 8; ++eight) {
            const int column = 8 * eight + lane % 8;
            unsigned place = start_place + eight * 8 * PART * 2;  // eight outputs on, an octet lies as it does here
            bool wanted = column < cols && top < rows;
            if constexpr (PACK > 1) {
                const int down = column / pitch, col = column % pitch;
                place = ring + place_in_ring((row + top + down) % ring_rows * cols + col, octet);
                wanted = down < PACK && top + down < rows && col < cols;
            }
            const float* sum = sums[i] + 4 * eight;
            store_transposed(wanted ? place : nowhere, finished(sum[0], sum[1], low), finished(sum[2], sum[3], high));
        }
    }
}

}  // namespace dcnn

using namespace dcnn;

extern "C" __global__ void __launch_bounds__(THREADS, 1) block_fwd_warpgroup_kernel(
    const StripRow* __restrict__ strips, int count,  // as block_fwd_strip_kernel takes them
    const RegionRow* __restrict__ regions, const PieceRow* __restrict__ pieces, const StoreRow* __restrict__ stores,
    const SourceRow* __restrict__ sources, const OutputRow* __restrict__ outputs, const char* __restrict__ weight,
    const float* __restrict__ bias, const float* __restrict__ mean, float scale, float norm_scale, float norm_power, float norm_k) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    extern __shared__ __align__(128) unsigned char memory[];
    const unsigned patches = shared_address(memory);
    const unsigned staged = patches + 2 * PATCH_BYTES, ring = staged + Arrivals::DEPTH * STAGE_BYTES;
    const unsigned dropped = ring + RING * PART * 2, nowhere = dropped + threadIdx.x / 32 * 256;
    const Arrivals arrivals{staged, dropped + WARPS * 256};
    // Eight outputs beside each other are eight units beside each other, in the plane of either half of 16 products.
    constexpr u64 PATCH = described(place_of(1), 128);
    constexpr int GROUP_ROWS = PACK * PRODUCTS;  // of outputs, of a warp group
    const int group = from_lane(threadIdx.x / 128, 0);  // the same for all of a warp, and known to be
    const int lane = threadIdx.x % 32;
    const Tables tables{regions, sources};
    const Rest rest{pieces, stores, outputs, norm_scale, norm_power, norm_k};

    int at = narrow(static_cast<int64_t>(count) * blockIdx.x / gridDim.x);
    const int end = narrow(static_cast<int64_t>(count) * (blockIdx.x + 1) / gridDim.x);
    if (at == end) return;
    weight += static_cast<int64_t>(blockIdx.y) * STAGES * STAGE_BYTES;
    bias += blockIdx.y * PART;

    StripRow strip = strips[at];
    Patch patch;
    Fetched fetched;
    float first_means[MEANS];  // where there is one unit of channels alone
    load_means(first_means, mean);
    begin(patch, tables, strip, 0, 0);
    // Products read what lies beyond the step's outputs.
    for (int at = threadIdx.x * 16; at < 2 * PATCH_BYTES; at += THREADS * 16) store_shared(patches + at, 0, 0, 0, 0);
    if (threadIdx.x == 0) arrivals.make();
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int n = 0; n < Arrivals::AHEAD; ++n) arrivals.send_for(n, weight + n % STAGES * STAGE_BYTES);
    }
    __syncwarp();
    for (int row = 0; row < SIZE; ++row) {
        fetch(patch, patches, fetched);
        settle(patch, fetched, mean, first_means, scale);
    }
    const unsigned own_weights = threadIdx.x / 32 % 4 * 512 + lane * 16;
    unsigned n = 0;                // the stage, of all
    int coming = Arrivals::AHEAD % STAGES;  // the one to send for, of a step's
    int side = 0;
    int row = 0;

    while (true) {
        const int cols = narrow(strip.cols), rows = min(narrow(strip.step), narrow(strip.rows) - row);
        const bool last = row + rows == narrow(strip.rows);
        const int pitch = pitch_of(cols);
        u64 rows_of_products[PRODUCTS];  // those beyond the step's rows are read, too: there is room for all in the patch
#pragma unroll
        for (int i = 0; i < PRODUCTS; ++i) rows_of_products[i] = placed(PATCH, (group * GROUP_ROWS + i * PACK) * pitch * 16);
        Sums sums = {};
#pragma unroll
        for (int i = 0; i < PRODUCTS; ++i) hold(sums[i]);

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
                if (tap_row == 0) {
                    wait_copies();
                    publish_to_tensor_cores();
                    __syncthreads();
                }
                // The last are sent for in vain.
                if (threadIdx.x == 0) arrivals.send_for(n + Arrivals::AHEAD, weight + coming * STAGE_BYTES);
                __syncwarp();
                coming = coming + 1 == STAGES ? 0 : coming + 1;
                fetch(patch, patches + (side ^ 1) * PATCH_BYTES, fetched);
                const unsigned tap = patches + side * PATCH_BYTES +
                                     (tap_row / STRIDE * pitch + tap_row % STRIDE * (cols + REACH)) * 16;
                u64 places[PRODUCTS];
#pragma unroll
                for (int i = 0; i < PRODUCTS; ++i) places[i] = placed(rows_of_products[i], tap);
                Weights a;
                arrivals.wait(n);
                load_weights(a, arrivals.place(n) + own_weights);
                begin_products();
                multiply(sums, a, places);
                commit_products();
                settle(patch, fetched, mean, first_means, scale);
                wait_products();
                if (lane == 0) arrive(arrivals.used(n));
                __syncwarp();
                ++n;
            }
            side ^= 1;
        }

        const RegionRow& region = regions[strip.region];
        const int ring_rows = narrow(strip.step) + POOL - 1;
        keep(sums, bias, ring, ring_rows, nowhere, row, group * GROUP_ROWS, rows, cols, pitch);
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
    if (threadIdx.x == 0) {
        for (int left = 0; left < Arrivals::AHEAD; ++left) arrivals.wait(n + left);
    }
#else
    __trap();  // sm_90 without its own instructions, or another target: nothing is written, and that is said
#endif
}
