// Windows of pictures as dense images: what layers read that take whole images. Each window is read by its own address and strides.
//
// Tile: a thread block for 256 pixels of a window. Memory: no shared memory. Limit: bytes written one by one, of few windows.
#include "core/tables.h"
#include "intrinsics.cuh"

// Grid [windows, parts of side * side pixels]. out: [windows, side, side, 3] bytes.
extern "C" __global__ void __launch_bounds__(256)
views_windows_kernel(const dcnn::SourceRow* sources, u8* out, i32 side) {
    const dcnn::SourceRow source = sources[blockIdx.x];
    const i32 pixel = blockIdx.y * 256 + threadIdx.x;
    if (pixel >= side * side) return;
    const u8* from = reinterpret_cast<const u8*>(source.address) + pixel / side * source.row + pixel % side * source.col;
    u8* to = out + (static_cast<i64>(blockIdx.x) * side * side + pixel) * 3;
#pragma unroll
    for (int channel = 0; channel < 3; ++channel) to[channel] = from[channel * source.channel];
}
