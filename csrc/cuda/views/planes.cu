// Planes and windows of photographs: resampled by Pillow's antialiased bilinear filter to the bit, cut, flipped, normalised.
// csrc/cuda/README.md, "Views", has the design; dcnn_fast/ops/views/cuda.py makes the tables.
//
// Tile: a rectangle of one cut's outputs, by 8 warps that go down its source rows once; its sides are the host's choice, so that
// a photograph's bytes are read about once. Memory: 47 KB of shared memory, 64 registers. Limit, by counts of PTX: instructions.
#include "core/tables.h"
#include "intrinsics.cuh"

#ifndef OUT
#define OUT 1  // 0: bytes, 1: half, 2: bfloat16
#endif

namespace {

using dcnn::CutChunkRow;
using dcnn::CutRow;
using dcnn::CutTileRow;
using dcnn::FilterRow;

constexpr int kWarps = 8;
constexpr int kThreads = 32 * kWarps;
constexpr int kStageWords = 8192;         // of source rows, between them a word each that keeps lanes in different banks
constexpr int kStagePadding = 32;
constexpr int kRingWords = 3584;          // of rows reduced horizontally
constexpr int kFraction = 22;             // bits of a weight behind the point: Pillow's PRECISION_BITS

struct Normalisation {
    float mean[3];
    float scale;
};

template <int kByte>
__device__ __forceinline__ i32 byte_of(u32 word) {
    return (word >> (8 * kByte)) & 255;
}

// One channel over another, opaque one: Pillow's alpha_composite.
__device__ __forceinline__ u32 over(u32 value, u32 below, u32 alpha) {
    const u32 sum = (value * alpha + below * (255 - alpha)) * 128 + (0x80 << 7);
    return (((sum >> 8) + sum) >> 8) >> 7;
}

__device__ __forceinline__ u32 over_background(u32 pixel, u32 background) {
    const u32 alpha = byte_of<3>(pixel);
    return over(byte_of<0>(pixel), byte_of<0>(background), alpha) | over(byte_of<1>(pixel), byte_of<1>(background), alpha) << 8 |
           over(byte_of<2>(pixel), byte_of<2>(background), alpha) << 16;
}

// The aligned word at `at`, as far as it is readable, which is from `low` to `high`.
__device__ __forceinline__ u32 word_at(u64 at, u64 low, u64 high) {
    if (at >= low && at + 4 <= high) return *reinterpret_cast<const u32*>(at);
    u32 word = 0;
    for (int i = 0; i < 4; ++i)
        if (at + i >= low && at + i < high) word |= static_cast<u32>(*reinterpret_cast<const u8*>(at + i)) << (8 * i);
    return word;
}

__device__ __forceinline__ i32 rounded(i32 sum) { return min(sum >> kFraction, 255); }

// A part of one source row to shared memory, its first byte `shift` bits into word `skipped` of `aligned`; words from `loaded` on are
// zeros. A warp reads aligned requests of 128 bytes and shifts them into place. kInside: all of it is readable.
template <bool kInside, bool kAlpha>
__device__ __forceinline__ void stage_row(u64 aligned, i32 skipped, i32 loaded, i32 words, u32 shift, u64 low, u64 high,
                                          u32 background, u32* row) {
    const i32 lane = threadIdx.x % 32;
#pragma unroll 1
    for (i32 base = lane; base - lane < skipped + words; base += 128) {
        const u32* from = reinterpret_cast<const u32*>(aligned) + base;
        u32 raw[5];
#pragma unroll
        for (int i = 0; i < 5; ++i) {
            const bool wanted = static_cast<u32>(base + 32 * i - skipped) < static_cast<u32>(loaded - skipped);
            raw[i] = 0;
            if (wanted && (i < 4 || lane == 0)) raw[i] = kInside ? from[32 * i] : word_at(aligned + 4ull * (base + 32 * i), low, high);
        }
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const u32 next = from_lane(lane == 0 ? raw[i + 1] : raw[i], (lane + 1) & 31);
            u32 word = funnel_right(raw[i], next, shift);
            if (kAlpha && word < 0xff000000u) word = over_background(word, background);
            const i32 at = base + 32 * i - skipped;
            if (static_cast<u32>(at) < static_cast<u32>(words)) row[at] = word;
        }
    }
}

// `rows` source rows from `y` on, pixels from chunk.pixel on, to shared memory, each from a word's first byte on.
template <int kPixelBytes>
__device__ void stage_rows(const CutRow& cut, const CutChunkRow& chunk, i32 y, i32 rows, i32 pitch, u32 background, u32* stage) {
    const bool dense = cut.pitch == cut.width * kPixelBytes;
#pragma unroll 1
    for (i32 row = threadIdx.x / 32; row < rows; row += kWarps) {
        const u64 line = static_cast<u64>(cut.address) + static_cast<u64>(y + row) * cut.pitch;
        const u64 line_end = line + cut.width * kPixelBytes;
        const u64 low = dense ? static_cast<u64>(cut.address) : line;
        const u64 high = dense ? static_cast<u64>(cut.address) + cut.height * cut.pitch : line_end;
        const u64 begin = line + static_cast<u64>(chunk.pixel) * kPixelBytes;
        const u64 end = min(begin + 4 * static_cast<u64>(chunk.words), line_end);
        const u64 aligned = begin & ~31ull;
        const i32 skipped = static_cast<i32>(begin - aligned) >> 2, loaded = static_cast<i32>(end - aligned + 3) >> 2;
        const u32 shift = 8 * (begin & 3);
        u32* to = stage + row * pitch;
        if (aligned + 4 * skipped >= low && aligned + 4 * loaded <= high)
            stage_row<true, kPixelBytes == 4>(aligned, skipped, loaded, chunk.words, shift, low, high, background, to);
        else
            stage_row<false, kPixelBytes == 4>(aligned, skipped, loaded, chunk.words, shift, low, high, background, to);
    }
}

// One channel's sum of products with weights that are cut in three bytes each, since products of bytes come four at a time.
struct Sum {
    u32 low = 0, middle = 0, high = 0;

    // Four pixels, a byte each; `k` has their weights' lowest bytes, the middle ones and the highest ones.
    __device__ __forceinline__ void add(u32 pixels, const uint4& k) {
        low = dot_of_bytes(pixels, k.x, low);
        middle = dot_of_bytes(pixels, k.y, middle);
        high = dot_of_bytes(pixels, k.z, high);
    }

    __device__ __forceinline__ i32 byte() const {
        return rounded(static_cast<i32>(low + (middle << 8) + (high << 16) + (1 << (kFraction - 1))));
    }
};

// Reduces the staged rows horizontally: a lane has a row, a warp an output column at a time, so that weights and places are the
// same for all lanes and their words in different banks.
template <int kPixelBytes>
__device__ void reduce_rows(const FilterRow* axis, const uint4* weights, const CutTileRow& tile, const CutChunkRow& chunk, i32 rows,
                            i32 pitch, const u32* stage, u8* reduced) {
    constexpr int kPlanes = kPixelBytes == 1 ? 1 : 3;
    const i32 lane = threadIdx.x % 32;
    if (lane >= rows) return;
#pragma unroll 1
    for (i32 col = threadIdx.x / 32; col < chunk.cols; col += kWarps) {
        const FilterRow place = axis[chunk.col + col];
        const i32 offset = (place.first - chunk.pixel) * kPixelBytes;
        const u32* words = stage + lane * pitch + (offset >> 2);
        const u32 shift = 8 * (offset & 3);
        Sum sum[3];
        u32 last = words[0];
#pragma unroll 2
        for (i32 quad = 0; quad < place.quads; ++quad) {
            const uint4 k = weights[place.weights + quad];
            if (kPixelBytes == 4) {
                const u32 a = words[0], b = words[1], c = words[2], d = words[3];
                sum[0].add(bytes_of(bytes_of(a, b, 0x0040), bytes_of(c, d, 0x0040), 0x5410), k);
                sum[1].add(bytes_of(bytes_of(a, b, 0x0051), bytes_of(c, d, 0x0051), 0x5410), k);
                sum[2].add(bytes_of(bytes_of(a, b, 0x0062), bytes_of(c, d, 0x0062), 0x5410), k);
            } else if (kPixelBytes == 3) {
                const u32 w1 = words[1], w2 = words[2], w3 = words[3];
                const u32 a = funnel_right(last, w1, shift), b = funnel_right(w1, w2, shift), c = funnel_right(w2, w3, shift);
                sum[0].add(bytes_of(bytes_of(a, b, 0x0630), c, 0x5210), k);
                sum[1].add(bytes_of(bytes_of(a, b, 0x0741), c, 0x6210), k);
                sum[2].add(bytes_of(bytes_of(a, b, 0x0052), c, 0x7410), k);
                last = w3;
            } else {
                const u32 w1 = words[1];
                sum[0].add(funnel_right(last, w1, shift), k);
                last = w1;
            }
            words += kPixelBytes;
        }
        u8* to = reduced + (chunk.col - tile.col + col) * kPlanes;
#pragma unroll
        for (int c = 0; c < kPlanes; ++c) to[c] = static_cast<u8>(sum[c].byte());
    }
}

// One pixel of the output, its fourth channel zero.
__device__ __forceinline__ void put(const CutRow& cut, i32 row, i32 col, const i32 (&value)[3], const Normalisation& norm) {
    const i64 place = row * cut.out_width + (cut.flip ? cut.out_width - 1 - col : col);
#if OUT == 0
    reinterpret_cast<u32*>(cut.out)[place] = value[0] | value[1] << 8 | value[2] << 16;
#else
    u32 bits[3];
#pragma unroll
    for (int c = 0; c < 3; ++c) {
        const float normalised = (static_cast<float>(value[c]) - norm.mean[c]) * norm.scale;
        bits[c] = OUT == 1 ? half_bits(normalised) : bfloat16_bits(normalised);
    }
    reinterpret_cast<uint2*>(cut.out)[place] = make_uint2(bits[0] | bits[1] << 16, bits[2]);
#endif
}

// Output rows from `row` to before `end`, whose reduced source rows are all in the ring.
template <int kPlanes>
__device__ void emit_rows(const CutRow& cut, const CutTileRow& tile, const FilterRow* axis, const i32* weights, i32 row, i32 end,
                          const u8* ring, i32 ring_rows, i32 ring_pitch, const Normalisation& norm) {
#pragma unroll 1
    for (i32 item = threadIdx.x; item < (end - row) * tile.cols; item += kThreads) {
        const i32 y = row + item / tile.cols, col = item % tile.cols;
        const FilterRow place = axis[y];
        i32 slot = place.first % ring_rows;
        i32 sum[3] = {1 << (kFraction - 1), 1 << (kFraction - 1), 1 << (kFraction - 1)};
        for (i32 tap = 0; tap < place.taps; ++tap) {
            const i32 k = weights[4ll * place.weights + tap];
            const u8* pixel = ring + slot * ring_pitch + col * kPlanes;
#pragma unroll
            for (int c = 0; c < kPlanes; ++c) sum[c] += pixel[c] * k;
            slot = slot + 1 == ring_rows ? 0 : slot + 1;
        }
        i32 value[3];
#pragma unroll
        for (int c = 0; c < 3; ++c) value[c] = rounded(sum[kPlanes == 1 ? 0 : c]);
        put(cut, y, tile.col + col, value, norm);
    }
}

// A tile of the output: streams the source rows that it depends on once, a group at a time.
template <int kPixelBytes>
__device__ void resample(const CutRow& cut, const CutTileRow& tile, const CutChunkRow* chunks, const FilterRow* axis,
                         const uint4* weights, u32 background, const Normalisation& norm, u32* stage, u8* ring) {
    constexpr int kPlanes = kPixelBytes == 1 ? 1 : 3;
    const FilterRow *axis_x = axis + cut.axis_x, *axis_y = axis + cut.axis_y;
    const i32 pitch = kStageWords / tile.group + 1;
    const i32 ring_pitch = 4 * ((tile.cols * kPlanes + 3) / 4 | 1);
    const i32 ring_rows = 4 * kRingWords / ring_pitch;
    const FilterRow last = axis_y[tile.row + tile.rows - 1];
    const i32 end = last.first + last.taps;
    i32 next = tile.row;
    for (i32 y = axis_y[tile.row].first; y < end; y += tile.group) {
        const i32 rows = min(tile.group, end - y);
        i32 slot = y % ring_rows + static_cast<i32>(threadIdx.x % 32);
        if (slot >= ring_rows) slot -= ring_rows;
        for (i32 i = 0; i < tile.count; ++i) {
            const CutChunkRow chunk = chunks[tile.first + i];
            __syncthreads();  // the stage and the ring's oldest rows have been read
            stage_rows<kPixelBytes>(cut, chunk, y, rows, pitch, background, stage);
            __syncthreads();
            reduce_rows<kPixelBytes>(axis_x, weights, tile, chunk, rows, pitch, stage, ring + slot * ring_pitch);
        }
        __syncthreads();
        i32 done = next;
        while (done < tile.row + tile.rows && axis_y[done].first + axis_y[done].taps <= y + rows) ++done;
        emit_rows<kPlanes>(cut, tile, axis_y, reinterpret_cast<const i32*>(weights), next, done, ring, ring_rows, ring_pitch, norm);
        next = done;
    }
}

// What lies outside the photograph: black, of which the mean is taken off like of anything else.
__device__ void fill(const CutRow& cut, const CutTileRow& tile, const Normalisation& norm) {
    const i32 black[3] = {0, 0, 0};
    for (i32 item = threadIdx.x; item < tile.rows * tile.cols; item += kThreads)
        put(cut, tile.row + item / tile.cols, tile.col + item % tile.cols, black, norm);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(256, 4)
views_planes_kernel(const CutRow* cuts, const CutTileRow* tiles, const CutChunkRow* chunks, const FilterRow* filters,
                    const i32* weights, float mean_r, float mean_g, float mean_b, float scale, u32 background) {
    __shared__ u32 stage[kStageWords + kStagePadding];
    __shared__ u32 ring[kRingWords];
    const CutTileRow tile = tiles[blockIdx.x];
    const CutRow cut = cuts[tile.cut];
    const Normalisation norm = {{mean_r, mean_g, mean_b}, scale};
    const uint4* quads = reinterpret_cast<const uint4*>(weights);
    u8* bytes = reinterpret_cast<u8*>(ring);
    if (tile.group == 0)
        fill(cut, tile, norm);
    else if (cut.channels == 1)
        resample<1>(cut, tile, chunks, filters, quads, background, norm, stage, bytes);
    else if (cut.channels == 3)
        resample<3>(cut, tile, chunks, filters, quads, background, norm, stage, bytes);
    else
        resample<4>(cut, tile, chunks, filters, quads, background, norm, stage, bytes);
}
