// The block's forward, hand-staged: conv -> bias -> ReLU -> [pool, norm across maps, either order] over a list of regions, or with
// the ReLU behind both. What follows the convolution: tail.cuh.
//
// A thread block goes down strips, a step of a few rows at a time, its input patch staged in shared memory and read from there
// by every filter tap. Tile: 256 outputs of 64 filters on 4 warps. Memory: 79 KB of shared memory for block 1, 88 KB for block 2,
// up to 252 registers. Limit, by the model: the tensor cores, on an H100 shared memory. The design, with its figures:
// csrc/cuda/README.md.
#include "block/tail.cuh"

namespace dcnn {

// Where a unit of a patch's row lies, from the row's first.
__host__ __device__ constexpr int place_of(int unit) { return (unit % SPAN * PLANE + unit / SPAN) * 16; }

static_assert(PIXEL != 4 || STRIDE % 2 == 0, "an output's pixels must start at a multiple of 16 bytes");
static_assert(PART % 16 == 0 && CHUNKS * PIXEL >= CHANNELS, "whole matrices");

// The patch that is being staged: where its pixels come from, where they go, and how far this thread has come.
struct Patch {
    const char* source;                          // its first pixel's first channel, as if the window had no end
    int row_stride, col_stride, channel_stride;  // bytes
    int top, left;                               // of its corner in the window
    int window_height, window_width;
    int rows, units, padded;                     // units of a row; the same, with lanes that have nothing to do
    int pitch, width;                            // units from a row of outputs to the next, and of a row of a plane
    int row, unit;                               // this thread's next
    int down, right;                             // from one of its units to the next
    int chunk;
    bool paired;                                 // the two pixels of a unit lie beside each other and may be read at once
};

struct Tables {
    const RegionRow* regions;
    const SourceRow* sources;
};

// Units from a row of outputs to the next: eight outputs in row-major order then lie in eight different groups of banks, in
// one row or over two.
__device__ __forceinline__ int pitch_of(int cols) {
    const int least = STRIDE * (cols + REACH);
    return least + ((cols - least) & 7);
}

__device__ __forceinline__ void begin(Patch& patch, const Tables& tables, const StripRow& strip, int row, int chunk) {
    const RegionRow& region = tables.regions[strip.region];
    const SourceRow& source = tables.sources[region.source];
    constexpr int BYTE = BYTES ? 1 : 2;
    const int y = narrow(strip.row) + row, x = narrow(strip.col);
    const int64_t pixel_row = region.top + static_cast<int64_t>(y) * STRIDE;
    const int64_t pixel_col = region.left + static_cast<int64_t>(x) * STRIDE;
    patch.source = reinterpret_cast<const char*>(source.address) +
                   BYTE * (region.image * source.image + pixel_row * source.row + pixel_col * source.col +
                           static_cast<int64_t>(chunk) * PIXEL * source.channel);
    patch.row_stride = BYTE * narrow(source.row);
    patch.col_stride = BYTE * narrow(source.col);
    patch.channel_stride = BYTE * narrow(source.channel);
    patch.top = narrow(pixel_row - region.window_top);
    patch.left = narrow(pixel_col - region.window_left);
    patch.window_height = narrow(region.window_height);
    patch.window_width = narrow(region.window_width);
    const int rows = min(narrow(strip.step), narrow(strip.rows) - row), cols = narrow(strip.cols);
    patch.rows = (rows - 1) * STRIDE + SIZE;
    patch.units = (cols - 1) * SPAN + UNITS;
    patch.padded = (patch.units + ALIGNED - 1) / ALIGNED * ALIGNED;
    patch.pitch = pitch_of(cols);
    patch.width = cols + REACH;
    patch.row = threadIdx.x / patch.padded;
    patch.unit = threadIdx.x % patch.padded;
    patch.down = THREADS / patch.padded;
    patch.right = THREADS % patch.padded;
    patch.chunk = chunk;
    patch.paired = source.col == 4 && (reinterpret_cast<int64_t>(patch.source) | patch.row_stride) % (8 * BYTE) == 0;
}

constexpr unsigned NOWHERE = 0xffffffffu;

// The units of one stage that wait in registers to be converted.
struct Fetched {
    unsigned raw[FETCH][RAW];
    unsigned target[FETCH];  // NOWHERE: none
    bool inside[FETCH][PIXELS];
};

// One, two or four words in one access, aligned as such.
template <int COUNT>
__device__ __forceinline__ void load_words(unsigned (&words)[COUNT], const char* source) {
    if constexpr (COUNT == 1) {
        words[0] = *reinterpret_cast<const unsigned*>(source);
    } else if constexpr (COUNT == 2) {
        const uint2 found = *reinterpret_cast<const uint2*>(source);
        words[0] = found.x;
        words[1] = found.y;
    } else {
        const uint4 found = *reinterpret_cast<const uint4*>(source);
        words[0] = found.x;
        words[1] = found.y;
        words[2] = found.z;
        words[3] = found.w;
    }
}

// Start the unit (patch.row, patch.unit) on its way.
__device__ __forceinline__ void fetch_unit(const Patch& patch, unsigned target, Fetched& fetched, int n) {
    const int pixel = patch.unit * PIXELS / HALVES, half = patch.unit % HALVES;
    const bool row_inside = static_cast<unsigned>(patch.top + patch.row) < static_cast<unsigned>(patch.window_height) &&
                            (CHANNELS % PIXEL == 0 || PIXEL == 4 || patch.chunk * PIXEL + half * ITEM < CHANNELS);
    const unsigned place = target + place_of(patch.unit) +
                           (patch.row / STRIDE * patch.pitch + patch.row % STRIDE * patch.width) * 16;
    const char* row = patch.source + static_cast<int64_t>(patch.row) * patch.row_stride + pixel * patch.col_stride;
    fetched.target[n] = place;
    if constexpr (CONVERTED) {
#pragma unroll
        for (int i = 0; i < RAW; ++i) fetched.raw[n][i] = 0;
    }
    bool inside[PIXELS];
#pragma unroll
    for (int p = 0; p < PIXELS; ++p) {
        inside[p] = row_inside && static_cast<unsigned>(patch.left + pixel + p) < static_cast<unsigned>(patch.window_width);
        fetched.inside[n][p] = inside[p];
    }
    if constexpr (ACCESS == 1) {
        if (patch.paired && inside[0] && inside[1]) {
            load_words(fetched.raw[n], row);
            return;
        }
    }
#pragma unroll
    for (int p = 0; p < PIXELS; ++p) {
        const char* source = row + p * patch.col_stride;
        if constexpr (!CONVERTED) {
            start_copy<2 * ITEM>(place + p * 2 * ITEM, source + half * 2 * ITEM, inside[p]);
        } else if (inside[p]) {
            if constexpr (ACCESS == 1) {
                unsigned words[RAW / 2];
                load_words(words, source);
#pragma unroll
                for (int i = 0; i < RAW / 2; ++i) fetched.raw[n][p * RAW / 2 + i] = words[i];
            } else {
                constexpr int PER_WORD = BYTES ? 4 : 2;
#pragma unroll
                for (int c = 0; c < ITEM; ++c) {
                    if (patch.chunk * PIXEL + half * ITEM + c >= CHANNELS) break;
                    const char* at = source + static_cast<int64_t>(half * ITEM + c) * patch.channel_stride;
                    const unsigned value =
                        BYTES ? *reinterpret_cast<const unsigned char*>(at) : *reinterpret_cast<const unsigned short*>(at);
                    fetched.raw[n][(p * ITEM + c) / PER_WORD] |= value << (c % PER_WORD * (32 / PER_WORD));
                }
            }
        }
    }
}

// Start this thread's next units on their way; after the stages of a chunk all of them are.
__device__ __forceinline__ void fetch(Patch& patch, unsigned target, Fetched& fetched) {
#pragma unroll
    for (int n = 0; n < FETCH; ++n) {
        fetched.target[n] = NOWHERE;
        if (patch.row < patch.rows) {
            if (patch.unit < patch.units) fetch_unit(patch, target, fetched, n);
            patch.row += patch.down;
            patch.unit += patch.right;
            if (patch.unit >= patch.padded) {
                patch.unit -= patch.padded;
                ++patch.row;
            }
        }
    }
}

template <int INDEX>
__device__ __forceinline__ float channel_of(const unsigned (&raw)[RAW]) {
    if constexpr (BYTES) return byte_of<INDEX % 4>(raw[INDEX / 4]);
    return widened<BF16>(static_cast<unsigned short>(raw[INDEX / 2] >> (INDEX % 2 * 16)));
}

// Numbers 2 * PAIR and the next of a unit, less their mean; zero where there is no pixel or no channel: the weights there are
// zero, but a NaN times zero is none.
template <int PAIR>
__device__ __forceinline__ Half2 converted(const unsigned (&raw)[RAW], const bool (&inside)[PIXELS], int channel,
                                           const float (&mean)[MEANS], float scale) {
    constexpr int OWN = 2 * PAIR % MEANS;  // channel in the unit
    if (SUBTRACT && !inside[2 * PAIR / MEANS]) return 0;  // what was not read is zero already
    if (channel + OWN >= CHANNELS) return 0;
    Half2 pair;
    if constexpr (!BYTES && !SUBTRACT) {
        pair = raw[PAIR];
    } else {
        float first = channel_of<2 * PAIR>(raw), second = channel_of<2 * PAIR + 1>(raw);
        if constexpr (SUBTRACT) {
            first = (first - mean[OWN]) * scale;
            second = (second - mean[OWN + 1]) * scale;
        }
        pair = rounded<BF16>(first, second);
    }
    return CHANNELS % 2 && channel + OWN + 1 >= CHANNELS ? pair & 0xffffu : pair;
}

__device__ __forceinline__ void load_means(float (&mean)[MEANS], const float* means) {
#pragma unroll
    for (int c = 0; c < MEANS; ++c) mean[c] = SUBTRACT ? means[c] : 0.0f;
}

// Write what was fetched to the patch.
__device__ __forceinline__ void settle(const Patch& patch, const Fetched& fetched, const float* means,
                                       const float (&first_means)[MEANS], float scale) {
    if constexpr (CONVERTED) {
        // A thread's units are all the same half of a pixel: there are an even number of threads, and of units in a row.
        const int channel = patch.chunk * PIXEL + static_cast<int>(threadIdx.x) % HALVES * ITEM;
        float mean[MEANS];
#pragma unroll
        for (int c = 0; c < MEANS; ++c) mean[c] = first_means[c];
        if constexpr (CHUNKS * HALVES > 1) load_means(mean, means + channel);
#pragma unroll
        for (int n = 0; n < FETCH; ++n) {
            if (fetched.target[n] == NOWHERE) continue;
            const auto& raw = fetched.raw[n];
            const auto& inside = fetched.inside[n];
            store_shared(fetched.target[n], converted<0>(raw, inside, channel, mean, scale),
                         converted<1>(raw, inside, channel, mean, scale), converted<2>(raw, inside, channel, mean, scale),
                         converted<3>(raw, inside, channel, mean, scale));
        }
    }
}

// A stage's weights; this thread's share of them from byte AT on.
template <int AT = 0>
__device__ __forceinline__ void stage_weights(unsigned target, const char* source) {
    if constexpr (AT + THREADS * 16 <= STAGE_BYTES) {
        start_copy<16, AT>(target, source, true);
        stage_weights<AT + THREADS * 16>(target, source);
    } else if constexpr (AT < STAGE_BYTES) {
        if (static_cast<int>(threadIdx.x) * 16 < STAGE_BYTES - AT) start_copy<16, AT>(target, source, true);
    }
}

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
            for (int base = 0; base < rows * cols; base += THREADS / LANES) {
                const int output = base + static_cast<int>(threadIdx.x) / LANES, octet = lane % LANES;
                const bool own = output < rows * cols && octet < OCTETS;
                const unsigned place = ring + place_in_ring((row + output / cols) % ring_rows * cols + output % cols, octet);
                Half2 values[4] = {};
                if (own) load_shared(values, place);
                normalise(values, norm_scale, norm_power, norm_k);
                if (own) store_shared(place, values[0], values[1], values[2], values[3]);
            }
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
