// A product of matrices by two warpgroups for sm_90a: one thread brings tiles by bulk copies, four warps multiply them with
// wgmma. hopper.sm_90a.ptx is what
//   nvcc -ptx -arch=sm_90a -lineinfo hopper.cu -o hopper.sm_90a.ptx
// of CUDA 13.0 makes of it; absolute paths in its .file lines were cut.
#include <cuda_fp16.h>
#include <cstdint>

constexpr int TILE = 64, STAGES = 3, BYTES = TILE * TILE * 2;

struct alignas(1024) Memory {
  __half a[STAGES][TILE * TILE], b[STAGES][TILE * TILE];
  float c[TILE * TILE];
  uint64_t full[STAGES], empty[STAGES];
};

__device__ uint32_t address(const void *p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

__device__ void arrive(uint64_t *barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(address(barrier)) : "memory");
}

__device__ void wait(uint64_t *barrier, uint32_t parity) {
  uint32_t done;
  do {
    asm volatile(
        "{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
        : "=r"(done)
        : "r"(address(barrier)), "r"(parity)
        : "memory");
  } while (!done);
}

__device__ void bring(void *to, const void *from, uint64_t *barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(address(to)),
               "l"(from), "r"(BYTES), "r"(address(barrier))
               : "memory");
}

__device__ uint64_t described(const void *p) {
  // Rows of 128 bytes, swizzled; the next eight are 1024 bytes on.
  return static_cast<uint64_t>(address(p) >> 4) | 1ull << 16 | 64ull << 32 | 1ull << 62;
}

__device__ void multiply(float (&d)[32], uint64_t a, uint64_t b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 "
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, "
      "%25, %26, %27, %28, %29, %30, %31}, %32, %33, 1, 1, 1, 0, 0;"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]),
        "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]), "+f"(d[16]), "+f"(d[17]),
        "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]),
        "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
      : "l"(a), "l"(b));
}

// a, b: tiles of 64 rows and 64 columns along K as shared memory has them, `steps` for each row and column of tiles of c.
extern "C" __global__ void __launch_bounds__(256) product(const __half *a, const __half *b, float *c, int n, int steps) {
  extern __shared__ char raw[];
  Memory &memory = *reinterpret_cast<Memory *>(raw);
  if (threadIdx.x == 0) {
    for (int i = 0; i < STAGES; i++) {
      asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(address(&memory.full[i])));
      asm volatile("mbarrier.init.shared::cta.b64 [%0], 4;" ::"r"(address(&memory.empty[i])));
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
  __syncthreads();
  if (threadIdx.x >= 128) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
    if (threadIdx.x == 128) {
      for (int step = 0; step < steps; step++) {
        int stage = step % STAGES;
        wait(&memory.empty[stage], step / STAGES % 2 ^ 1);
        asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(address(&memory.full[stage])), "r"(2 * BYTES)
                     : "memory");
        bring(memory.a[stage], a + (blockIdx.y * steps + step) * TILE * TILE, &memory.full[stage]);
        bring(memory.b[stage], b + (blockIdx.x * steps + step) * TILE * TILE, &memory.full[stage]);
      }
    }
    return;
  }
  asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
  float d[32] = {};
  for (int step = 0; step < steps; step++) {
    int stage = step % STAGES;
    wait(&memory.full[stage], step / STAGES % 2);
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
    for (int k = 0; k < 4; k++)
      multiply(d, described(memory.a[stage] + 16 * k), described(memory.b[stage] + 16 * k));
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
    asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
    if (step > 0 && threadIdx.x % 32 == 0)
      arrive(&memory.empty[(step - 1) % STAGES]);
  }
  asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int i = 0; i < 32; i++) {
    int row = 16 * warp + lane / 4 + i % 4 / 2 * 8, column = i / 4 * 8 + lane % 4 * 2 + i % 2;
    memory.c[row * TILE + column] = d[i];
  }
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  asm volatile("bar.sync 1, 128;" ::: "memory");
  if (threadIdx.x < TILE) {
    float *to = c + (blockIdx.y * TILE + threadIdx.x) * n + blockIdx.x * TILE;
    asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(to),
                 "r"(address(memory.c + threadIdx.x * TILE)), "r"(4 * TILE)
                 : "memory");
    asm volatile("cp.async.bulk.commit_group;");
    asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
  }
}
