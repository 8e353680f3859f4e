// The tables of views_planes_kernel (planes.cu), made on the GPU for photographs of any sizes: one square plane each, of bytes.
//
// So that planes are made by launches whose shape follows from the planes alone. csrc/cuda/README.md, "Views", has the design;
// dcnn_fast/ops/views/fixed.py is the host's side. Tile: a thread block for an axis of a picture, a thread an output. Memory: none
// shared but a count a column of tiles. Limit: the divisions of doubles, of a thread 2 * size / plane.
#include "core/tables.h"
#include "intrinsics.cuh"

#ifndef QUADS  // groups of four weights that an output has room for
#define QUADS 33
#endif
#ifndef GROUP  // source rows that planes.cu stages at a time
#define GROUP 32
#endif
#ifndef STAGED  // words of a staged row
#define STAGED 248
#endif

namespace {

using dcnn::CutChunkRow;
using dcnn::CutRow;
using dcnn::CutTileRow;
using dcnn::FilterRow;

constexpr int kThreads = 256;
constexpr int kTile = 16;             // rows and columns of a tile, and so its most chunks
constexpr int kMostTiles = 64;        // along an axis of a plane
constexpr int kOutside = 4;           // rectangles that a photograph may leave black
constexpr i32 kWhole = 1 << 22;       // a weight of one: Pillow's PRECISION_BITS

// What a photograph is resized to, and the plane's corner on that; negative where the plane begins before it, with black.
struct Resize {
    i64 rows, cols, top, left;
};

// Pillow's filter of one output (libImaging/Resample.c): every step in doubles and rounded, as the host's C++ does it
// (csrc/core/resample.cpp), so that the weights are the same integers.
struct Triangle {
    double centre, inverse, total;
    i64 first;

    __device__ double share(i64 tap) const {
        const double place = __dadd_rn(__dsub_rn(static_cast<double>(tap + first), centre), 0.5);
        const double distance = __dmul_rn(place, inverse);
        return fmax(0.0, __dsub_rn(1.0, distance < 0.0 ? -distance : distance));
    }

    __device__ __forceinline__ i32 weight(i64 tap) const {
        return static_cast<i32>(__dadd_rn(0.5, __dmul_rn(__ddiv_rn(share(tap), total), static_cast<double>(kWhole))));
    }
};

// Up to four weights in turn, as planes.cu takes them: down as they are; across cut in bytes, which come four at a time.
struct Quad {
    int4 values = {0, 0, 0, 0};

    __device__ void add(i32 weight, i32 at, bool across) {
        if (across) {
            values.x |= (weight & 255) << (8 * at);
            values.y |= (weight >> 8 & 255) << (8 * at);
            values.z |= (weight >> 16 & 255) << (8 * at);
        } else {
            if (at == 0) values.x = weight;
            if (at == 1) values.y = weight;
            if (at == 2) values.z = weight;
            if (at == 3) values.w = weight;
        }
    }
};

// The filter of `output` of the `target` that `size` pixels become; its weights go to `weights`, group `place` of all. Zero weights
// before and behind are left out.
__device__ FilterRow filter_of(i64 size, i64 target, i64 output, bool across, i32 place, int4* weights) {
    const double scale = __ddiv_rn(static_cast<double>(static_cast<float>(size)), static_cast<double>(target));
    const double support = fmax(scale, 1.0);
    const double centre = __dmul_rn(__dadd_rn(static_cast<double>(output), 0.5), scale);
    const i64 start = max(static_cast<i64>(__dadd_rn(__dsub_rn(centre, support), 0.5)), 0ll);
    const i64 end = min(static_cast<i64>(__dadd_rn(__dadd_rn(centre, support), 0.5)), size);
    Triangle triangle{centre, __ddiv_rn(1.0, support), 0.0, start};
    for (i64 tap = 0; tap < end - start; ++tap) triangle.total = __dadd_rn(triangle.total, triangle.share(tap));
    i64 from = 0;
    i32 taps = 0, seen = 0;
    Quad quad;
#pragma unroll 1
    for (i64 tap = 0; tap < end - start; ++tap) {
        const i32 weight = triangle.weight(tap);
        if (seen == 0 && weight <= 0) continue;
        if (seen == 0) from = tap;
        quad.add(weight, seen % 4, across);
        if (weight > 0) taps = seen + 1;
        if (seen / 4 < QUADS) weights[place + seen / 4] = quad.values;
        if (++seen % 4 == 0) quad = Quad();
    }
    return {static_cast<i32>(start + from), taps, place, min((taps + 3) / 4, QUADS)};
}

// Outputs of a plane's axis that the photograph covers.
struct Covered {
    i32 first, end;

    __device__ Covered(i64 target, i64 origin, i32 plane)
        : first(static_cast<i32>(max(0ll, -origin))), end(static_cast<i32>(min(static_cast<i64>(plane), target - origin))) {}
};

// Runs of a tile's columns whose source pixels fit a staged row; how many they are.
__device__ i32 chunks_of(const FilterRow* axis, i32 col, i32 count, CutChunkRow* chunks) {
    const auto end_of = [&](i32 i) { return axis[col + i].first + 4 * axis[col + i].quads; };
    const auto words_of = [](i32 pixels) { return (pixels * 3 + 3) / 4 + 1; };
    i32 made = 0;
    for (i32 start = 0; start < count; ++made) {
        const i32 pixel = axis[col + start].first;
        i32 end = end_of(start), stop = start + 1;
        while (stop < count && words_of(max(end, end_of(stop)) - pixel) <= STAGED) end = max(end, end_of(stop++));
        chunks[made] = {col + start, stop - start, pixel, words_of(end - pixel)};
        start = stop;
    }
    return made;
}

}  // namespace

// Grid [pictures, 2]: across, and down. resizes: [pictures, 4] numbers, as the host's resize_of has them. Every table has as much room for each picture: tiles side * side + kOutside where side is the
// number of tiles along an axis, chunks side * kTile, filters 2 * plane (across, then down), weights QUADS for each of those.
extern "C" __global__ void __launch_bounds__(256, 2)
views_tables_kernel(const CutRow* cuts, const Resize* resizes, CutTileRow* tiles, CutChunkRow* chunks, FilterRow* filters,
                    int4* weights, i32 plane) {
    __shared__ i32 counts[kMostTiles];
    const i32 picture = blockIdx.x, side = (plane + kTile - 1) / kTile;
    const bool across = blockIdx.y == 0;
    const CutRow cut = cuts[picture];
    const Resize resize = resizes[picture];
    const i32 begin = (2 * picture + (across ? 0 : 1)) * plane;
    const i64 target = across ? resize.cols : resize.rows, origin = across ? resize.left : resize.top;
    for (i32 i = threadIdx.x; i < plane; i += kThreads) {
        const i64 output = origin + i;
        if (output < 0 || output >= target) continue;
        filters[begin + i] = filter_of(across ? cut.width : cut.height, target, output, across, (begin + i) * QUADS, weights);
    }
    if (!across) return;
    __syncthreads();

    const Covered rows(resize.rows, resize.top, plane), cols(resize.cols, resize.left, plane);
    for (i32 i = threadIdx.x; i < side; i += kThreads) {
        const i32 col = cols.first + kTile * i;
        counts[i] = chunks_of(filters + begin, col, min(kTile, cols.end - col), chunks + (picture * side + i) * kTile);
    }
    __syncthreads();

    CutTileRow* own = tiles + picture * (side * side + kOutside);
    for (i32 i = threadIdx.x; i < side * side; i += kThreads) {
        const i32 row = rows.first + kTile * (i / side), col = cols.first + kTile * (i % side);
        const bool there = row < rows.end && col < cols.end;
        own[i] = {picture, 0, 0, 0, 0, 0, 0, 0};  // black, and nothing of it
        if (there) {
            own[i] = {picture, col, min(kTile, cols.end - col), row, min(kTile, rows.end - row), GROUP,
                      (picture * side + i % side) * kTile, counts[i % side]};
        }
    }
    if (threadIdx.x == 0) {
        CutTileRow* outside = own + side * side;
        const i32 height = rows.end - rows.first;
        outside[0] = {picture, 0, plane, 0, rows.first, 0, 0, 0};
        outside[1] = {picture, 0, plane, rows.end, plane - rows.end, 0, 0, 0};
        outside[2] = {picture, 0, cols.first, rows.first, height, 0, 0, 0};
        outside[3] = {picture, cols.end, plane - cols.end, rows.first, height, 0, 0, 0};
    }
}
