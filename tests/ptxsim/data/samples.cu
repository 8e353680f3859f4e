// Small kernels of the sort this project writes in CUDA C++. samples.sm_80.ptx is what
//   nvcc -ptx -arch=sm_80 -lineinfo samples.cu -o samples.sm_80.ptx
// of CUDA 13.0 makes of them; absolute paths in its .file lines were cut.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cstdint>

__constant__ float table[16];
__constant__ int steps[4] = {1, 2, -3, 4};

struct Window {
  const float *x;
  float scale;
  int n;
  int offsets[6];
};

// A structure by value, a dynamically indexed local array, constant tables.
extern "C" __global__ void gather(Window w, float *out) {
  float held[8];
  const int t = blockIdx.x * blockDim.x + threadIdx.x;
  for (int i = 0; i < 8; i++) held[i] = table[(t + i) & 15] * w.scale;
  const int which = (w.offsets[t % 6] + steps[t & 3]) & 7;
  if (t < w.n) out[t] = held[which] + w.x[t];
}

// Sum and maximum of a block: shuffles, ballot, shared memory, atomics.
extern "C" __global__ void block_sum(const float *x, int n, float *sum, int *largest, unsigned *above) {
  __shared__ float parts[32];
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  float v = i < n ? x[i] : 0.f;
  const unsigned ballot = __ballot_sync(~0u, v > 1.f);
  for (int d = 16; d; d >>= 1) v += __shfl_xor_sync(~0u, v, d);
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  if (lane == 0) {
    parts[warp] = v;
    atomicAdd(above, __popc(ballot));
  }
  __syncthreads();
  if (warp == 0) {
    v = lane < blockDim.x / 32 ? parts[lane] : 0.f;
    for (int d = 16; d; d >>= 1) v += __shfl_down_sync(~0u, v, d);
    if (lane == 0) atomicAdd(sum, v);
  }
  if (i < n) atomicMax(largest, __float2int_rn(x[i] * 100.f));
}

// half2 and bf16x2 arithmetic.
extern "C" __global__ void pairs(const __half2 *a, const __half2 *b, __half2 *ab, const __nv_bfloat162 *c,
                                 const __nv_bfloat162 *d, __nv_bfloat162 *cd) {
  const int i = threadIdx.x;
  ab[i] = __hmax2(__hfma2(a[i], b[i], a[i]), __hmul2(a[i], __hadd2(b[i], a[i])));
  cd[i] = __hmax2(__hfma2(c[i], d[i], c[i]), __hmul2(c[i], __hadd2(d[i], c[i])));
}

// A 64 x 64 tile of C = A B in fp16: cp.async in two stages, ldmatrix, mma. K is a multiple of 16.
__device__ void copy16(uint32_t to, const void *from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from));
}

extern "C" __global__ void gemm(const __half *A, const __half *B, float *C, int N, int K) {
  extern __shared__ __align__(16) char shared[];
  const uint32_t base = (uint32_t)__cvta_generic_to_shared(shared);
  const int t = threadIdx.x, lane = t & 31, warp = t >> 5;
  const int row0 = blockIdx.y * 64, col0 = blockIdx.x * 64;
  // A stage: 64 rows of 16 halves, 48 bytes apart; B stage: 16 rows of 64 halves, 144 bytes apart.
  const uint32_t a_stage = 64 * 48, stage = a_stage + 16 * 144;
  auto load = [&](int s, int k) {
    const int ra = t >> 1, ca = t & 1, rb = t >> 3, cb = t & 7;
    copy16(base + s * stage + ra * 48 + ca * 16, A + (size_t)(row0 + ra) * K + k + ca * 8);
    copy16(base + s * stage + a_stage + rb * 144 + cb * 16, B + (size_t)(k + rb) * N + col0 + cb * 8);
    asm volatile("cp.async.commit_group;");
  };
  float acc[8][4] = {};
  load(0, 0);
  for (int k = 0; k < K; k += 16) {
    const int s = (k >> 4) & 1;
    if (k + 16 < K) load(s ^ 1, k + 16);
    if (k + 16 < K)
      asm volatile("cp.async.wait_group 1;");
    else
      asm volatile("cp.async.wait_group 0;");
    __syncthreads();
    uint32_t a[4], b[4];
    const uint32_t pa = base + s * stage + (warp * 16 + (lane & 15)) * 48 + (lane >> 4) * 16;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
                 : "r"(pa));
    for (int j = 0; j < 4; j++) {
      const uint32_t pb = base + s * stage + a_stage + (lane & 15) * 144 + j * 32 + (lane >> 4) * 16;
      asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                   : "=r"(b[0]), "=r"(b[1]), "=r"(b[2]), "=r"(b[3])
                   : "r"(pb));
      for (int h = 0; h < 2; h++) {
        float *c = acc[2 * j + h];
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[2 * h]), "r"(b[2 * h + 1]));
      }
    }
    __syncthreads();
  }
  for (int j = 0; j < 8; j++)
    for (int i = 0; i < 4; i++) {
      const int r = row0 + warp * 16 + (lane >> 2) + (i >> 1) * 8, c = col0 + j * 8 + (lane & 3) * 2 + (i & 1);
      C[(size_t)r * N + c] = acc[j][i];
    }
}

// Integer work: division, switch, 64-bit, bytes, permutation.
extern "C" __global__ void integers(const int *x, const uint8_t *u, long long *out, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const int v = x[i];
  long long r = 0;
  switch (v & 7) {
    case 0: r = v / 7; break;
    case 1: r = v % 13; break;
    case 2: r = (long long)v * v; break;
    case 3: r = __byte_perm(v, i, 0x5140); break;
    case 4: r = __clz(v) + 100 * __popc(v); break;
    case 5: r = (unsigned)v / 11u; break;
    case 6: r = __brev(v) >> (i & 15); break;
    default: r = __mulhi(v, 123456789) + __funnelshift_l(v, i, 5);
  }
  int steps_done = 0;
  for (unsigned w = (unsigned)v; w > 1; w = w & 1 ? w - 1 : w >> 1) steps_done++;
  out[i] = r * 1000 + u[i] + steps_done;
}
