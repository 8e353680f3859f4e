// The tile that the hand-staged block is compiled for, each constant with a default, and what follows from it and the problem.
#pragma once
#include "block/problem.cuh"
#include "intrinsics.cuh"
#include "core/tables.h"

#ifndef PART  // filters of a thread block, a multiple of 16
#define PART 64
#endif
#ifndef PIXEL  // channels of a pixel in shared memory: 4 (an even stride only), 8 or 16 at a time
#define PIXEL 16
#endif
#ifndef ACCESS  // how pixels are read: 0 whole by asynchronous copies, 1 four channels as one word, 2 a channel at a time
#define ACCESS 0
#endif
#ifndef SUBTRACT  // whether a mean is taken off and a scale applied; not with ACCESS 0
#define SUBTRACT 0
#endif
#ifndef WIDE_STORES  // whether outputs may be written 16 bytes at a time
#define WIDE_STORES 1
#endif
#ifndef WARPS
#define WARPS 4
#endif
#ifndef TILES  // of 16 outputs, of a warp
#define TILES 4
#endif
#ifndef PLANE  // 16-byte units of a plane of the patch
#define PLANE 444
#endif
#ifndef RING  // outputs of the convolution that are kept for pool and norm
#define RING 300
#endif

namespace dcnn {

constexpr int THREADS = 32 * WARPS;
constexpr int CHUNKS = (CHANNELS + PIXEL - 1) / PIXEL;  // of channels, staged one after another
constexpr int STEPS = (SIZE * PIXEL + 15) / 16;         // of 16 products, in a filter row
constexpr int LAST = SIZE * PIXEL - 16 * (STEPS - 1);   // products of the last that count
constexpr int UNITS = 2 * STEPS;                        // of 16 bytes, in a filter row
constexpr int SPAN = STRIDE * PIXEL / 8;                // units from an output's pixels to its neighbour's
constexpr int REACH = (UNITS - 1) / SPAN;               // columns of a plane beyond the outputs' own
constexpr int STAGES = CHUNKS * SIZE;                   // a stage is a filter row of a chunk
constexpr int ITEM = PIXEL < 8 ? PIXEL : 8;             // channels of a pixel that lie in one unit
constexpr int HALVES = PIXEL / ITEM;                    // units of a pixel
constexpr int PIXELS = 8 / ITEM;                        // pixels of a unit
constexpr int ALIGNED = 8;                              // units that fill a row of banks
constexpr int STAGE_BYTES = STEPS * PART * 32;
constexpr int PATCH_BYTES = SPAN * PLANE * 16;
constexpr int FETCH = (SPAN * PLANE + THREADS * SIZE - 1) / (THREADS * SIZE);  // units that a thread fetches in a stage
constexpr int RAW = BYTES ? 2 : 4;  // registers of a unit that is converted
constexpr int MEANS = 8 / PIXELS;   // of a unit
constexpr bool CONVERTED = ACCESS != 0;
constexpr int OCTETS = PART / 8;  // of filters, one a lane

}  // namespace dcnn
