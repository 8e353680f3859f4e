// The instructions of sm_90a that four warps execute together, as thin wrappers, and the order between them and other accesses.
#pragma once

#include "intrinsics.cuh"

namespace dcnn {

// What describes a matrix of 8 x 8 cores, 128 bytes each with eight rows of 16 bytes one behind the other, that lie `along` bytes
// apart along the sum's axis and `across` bytes across it; a place is added to it by `placed`.
__host__ __device__ constexpr u64 described(unsigned along, unsigned across) {
    return static_cast<u64>(along >> 4) << 16 | static_cast<u64>(across >> 4) << 32;
}

__device__ __forceinline__ u64 placed(u64 description, unsigned place) { return description + (place >> 4); }

// What threads have written to shared memory is there for the tensor cores, behind this and a barrier.
__device__ __forceinline__ void publish_to_tensor_cores() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Between what touches registers of products and the products.
__device__ __forceinline__ void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

// Sums are made before this. A compiler may otherwise set one to zero where the products first need it, among others that are on
// their way, and then has to wait for these.
template <int COUNT>
__device__ __forceinline__ void hold(float (&sums)[COUNT]) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) asm volatile("" : "+f"(sums[i]));
}

__device__ __forceinline__ void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Until all committed products but the last LEFT groups are done.
template <int LEFT = 0>
__device__ __forceinline__ void wait_products() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LEFT) : "memory");
}

#define DCNN_NAMES_28 \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27"
#define DCNN_NAMES_32 DCNN_NAMES_28 ", %28, %29, %30, %31"
#define DCNN_SUMS_4(i) "+f"(sum[i]), "+f"(sum[i + 1]), "+f"(sum[i + 2]), "+f"(sum[i + 3])
#define DCNN_SUMS_28 \
    DCNN_SUMS_4(0), DCNN_SUMS_4(4), DCNN_SUMS_4(8), DCNN_SUMS_4(12), DCNN_SUMS_4(16), DCNN_SUMS_4(20), DCNN_SUMS_4(24)
#define DCNN_SUMS_32 DCNN_SUMS_28, DCNN_SUMS_4(28)
#define DCNN_PRODUCT(COLUMNS, TYPE, NAMES, OTHERS, ...)                                                                       \
    asm volatile("wgmma.mma_async.sync.aligned.m64n" COLUMNS "k16.f32." TYPE "." TYPE " {" NAMES "}, " OTHERS ", 1, 1, 1, 0;" \
                 : __VA_ARGS__                                                                                                \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b))

// Starts sum += a * b in the background: 64 rows by 2 * COUNT columns, 16 products each, of fp16 or bf16 with fp32 sums. A thread
// has COUNT sums. a: 16 rows a warp, as `ldmatrix` gives them. b: what `described` and `placed` make, a row for each column.
template <bool BRAIN, int COUNT>
__device__ __forceinline__ void start_product(float (&sum)[COUNT], const unsigned (&a)[4], u64 b) {
    static_assert(COUNT == 28 || COUNT == 32, "of 56 or 64 columns");
    if constexpr (COUNT == 28 && BRAIN) {
        DCNN_PRODUCT("56", "bf16", DCNN_NAMES_28, "{%28, %29, %30, %31}, %32", DCNN_SUMS_28);
    } else if constexpr (COUNT == 28) {
        DCNN_PRODUCT("56", "f16", DCNN_NAMES_28, "{%28, %29, %30, %31}, %32", DCNN_SUMS_28);
    } else if constexpr (BRAIN) {
        DCNN_PRODUCT("64", "bf16", DCNN_NAMES_32, "{%32, %33, %34, %35}, %36", DCNN_SUMS_32);
    } else {
        DCNN_PRODUCT("64", "f16", DCNN_NAMES_32, "{%32, %33, %34, %35}, %36", DCNN_SUMS_32);
    }
}

#undef DCNN_PRODUCT
#undef DCNN_SUMS_32
#undef DCNN_SUMS_28
#undef DCNN_SUMS_4
#undef DCNN_NAMES_32
#undef DCNN_NAMES_28

// Two matrices of 8 x 8 16-bit numbers, transposed: lane l < 16 names where column l % 8 of matrix l / 8 goes, 16 bytes.
__device__ __forceinline__ void store_transposed(unsigned column, unsigned first, unsigned second) {
    asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1, %2};" ::"r"(column), "r"(first), "r"(second) : "memory");
}

// Barriers in shared memory, 8 bytes each, that count arrivals and bytes on their way; a turn is over when all that it counts have
// come, and turns are told apart by their parity.
__device__ __forceinline__ void make_barrier(unsigned barrier, int arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

// What makes new barriers known to bulk copies.
__device__ __forceinline__ void publish_barriers() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

__device__ __forceinline__ void arrive(unsigned barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

// Until the barrier's turn of that parity is over; that of parity 1 is over for a new one.
__device__ __forceinline__ void wait_turn(unsigned barrier, unsigned parity) {
    unsigned over;
    do {
        asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
                     : "=r"(over)
                     : "r"(barrier), "r"(parity)
                     : "memory");
    } while (!over);
}

// Starts a copy of `bytes` bytes to shared memory, all multiples of 16; the barrier, at which this arrives, counts them.
__device__ __forceinline__ void start_bulk_copy(unsigned target, const void* source, int bytes, unsigned barrier) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(target),
                 "l"(source), "r"(bytes), "r"(barrier)
                 : "memory");
}

}  // namespace dcnn
