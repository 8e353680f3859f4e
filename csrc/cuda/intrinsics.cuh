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

namespace dcnn {

using Half2 = unsigned;  // two 16-bit numbers in a register, the first in the low half

__device__ __forceinline__ unsigned shared_address(const void* place) {
    return static_cast<unsigned>(__cvta_generic_to_shared(place));
}

// Copy COUNT bytes (4, 8 or 16) from global memory to shared memory, or zeros where `wanted` is false, both OFFSET bytes further
// on; they are there after `wait_copies` and a barrier. Of 16 bytes the first-level cache keeps nothing.
template <int COUNT, int OFFSET = 0>
__device__ __forceinline__ void start_copy(unsigned target, const void* source, bool wanted) {
    const int given = wanted ? COUNT : 0;
    if constexpr (COUNT == 16) {
        asm volatile("cp.async.cg.shared.global [%0 + %3], [%1 + %3], 16, %2;" ::"r"(target), "l"(source), "r"(given), "n"(OFFSET)
                     : "memory");
    } else {
        asm volatile("cp.async.ca.shared.global [%0 + %4], [%1 + %4], %2, %3;" ::"r"(target), "l"(source), "n"(COUNT), "r"(given),
                     "n"(OFFSET)
                     : "memory");
    }
}

// Until all copies that this thread has started are there.
__device__ __forceinline__ void wait_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

__device__ __forceinline__ void store_shared(unsigned target, unsigned a) {
    asm volatile("st.shared.b32 [%0], %1;" ::"r"(target), "r"(a) : "memory");
}

__device__ __forceinline__ void store_shared(unsigned target, unsigned a, unsigned b, unsigned c, unsigned d) {
    asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(target), "r"(a), "r"(b), "r"(c), "r"(d) : "memory");
}

__device__ __forceinline__ void load_shared(unsigned (&values)[4], unsigned source) {
    asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(values[0]), "=r"(values[1]), "=r"(values[2]), "=r"(values[3])
                 : "r"(source)
                 : "memory");
}

// Four matrices of 8 x 8 16-bit numbers; lane l names the row l % 8 of matrix l / 8, 16 bytes, OFFSET bytes before it.
template <int OFFSET>
__device__ __forceinline__ void load_matrices(unsigned (&matrix)[4], unsigned row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4 + %5];"
                 : "=r"(matrix[0]), "=r"(matrix[1]), "=r"(matrix[2]), "=r"(matrix[3])
                 : "r"(row), "n"(OFFSET)
                 : "memory");
}

// sum += a * b, 16 x 16 times 16 x 8, of fp16 or bf16 with fp32 sums.
template <bool BRAIN>
__device__ __forceinline__ void multiply_add(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    if constexpr (BRAIN) {
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                     "{%0, %1, %2, %3};"
                     : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    } else {
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                     "{%0, %1, %2, %3};"
                     : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    }
}

// Two numbers rounded to nearest even.
template <bool BRAIN>
__device__ __forceinline__ Half2 rounded(float first, float second) {
    Half2 pair;
    if constexpr (BRAIN) {
        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
    } else {
        asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
    }
    return pair;
}

template <bool BRAIN>
__device__ __forceinline__ float widened(unsigned short value) {
    float wide;
    if constexpr (BRAIN) {
        wide = __uint_as_float(static_cast<unsigned>(value) << 16);
    } else {
        asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value));
    }
    return wide;
}

// The larger of each pair; a NaN wins.
template <bool BRAIN>
__device__ __forceinline__ Half2 larger(Half2 a, Half2 b) {
    Half2 pair;
    if constexpr (BRAIN) {
        asm("max.NaN.bf16x2 %0, %1, %2;" : "=r"(pair) : "r"(a), "r"(b));
    } else {
        asm("max.NaN.f16x2 %0, %1, %2;" : "=r"(pair) : "r"(a), "r"(b));
    }
    return pair;
}

// Byte INDEX of a word as a number, without the slow conversion: 2**23 + byte is written down and 2**23 taken off.
template <int INDEX>
__device__ __forceinline__ float byte_of(unsigned word) {
    float sum;
    asm("prmt.b32 %0, %1, %2, %3;" : "=f"(sum) : "r"(word), "r"(0x4b000000u), "n"(0x7440 | INDEX));
    return sum - 8388608.0f;
}

// 2**x and log2(x), within 2 units in the last place.
__device__ __forceinline__ float exp2_approximate(float x) {
    float result;
    asm("ex2.approx.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
}

__device__ __forceinline__ float log2_approximate(float x) {
    float result;
    asm("lg2.approx.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
}

}  // namespace dcnn
