// A kernel for the tests of compiling and launching: y = FACTOR * x, as half, through shared memory.
#include "intrinsics.cuh"

#ifndef FACTOR
#define FACTOR 2.0f
#endif

extern "C" __global__ void scaled_kernel(const float* x, u16* y, i64 count, float offset) {
    extern __shared__ float reversed[];
    const i64 at = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    reversed[blockDim.x - 1 - threadIdx.x] = at < count ? x[at] : 0.0f;
    __syncthreads();
    if (at < count) y[at] = half_bits(FACTOR * reversed[blockDim.x - 1 - threadIdx.x] + offset);
}
