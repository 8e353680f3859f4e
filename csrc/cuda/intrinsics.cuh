// What CUDA C++ has no portable word for: types of fixed width, conversions, special instructions. Everything else is plain C++.
#pragma once

using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;
using i32 = int;
using i64 = long long;

// The bits of the nearest half, ties to even.
__device__ __forceinline__ u16 half_bits(float value) {
    u16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}

// The bits of the nearest bfloat16, ties to even.
__device__ __forceinline__ u16 bfloat16_bits(float value) {
    u16 bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}

// The low 32 bits of (high, low) >> bits, bits below 32.
__device__ __forceinline__ u32 funnel_right(u32 low, u32 high, u32 bits) { return __funnelshift_r(low, high, bits); }

// What another lane has; all 32 lanes of the warp must take part.
__device__ __forceinline__ u32 from_lane(u32 value, u32 lane) { return __shfl_sync(0xffffffffu, value, lane); }

// Four bytes chosen from eight, `low`'s being 0 to 3 and `high`'s 4 to 7: a digit of `choice` for each, the lowest first.
__device__ __forceinline__ u32 bytes_of(u32 low, u32 high, u32 choice) { return __byte_perm(low, high, choice); }

// sum + the products of the four unsigned bytes of `a` with those of `b`.
__device__ __forceinline__ u32 dot_of_bytes(u32 a, u32 b, u32 sum) { return __dp4a(a, b, sum); }
