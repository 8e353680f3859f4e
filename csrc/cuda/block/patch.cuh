// The patch of input pixels and the weights that the hand-staged block's kernels keep in shared memory.
#pragma once
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

}  // namespace dcnn
