// Features of processor and operating system, detected once at run time.
#pragma once

namespace dcnn {

struct Features {
  bool sse2, avx2, fma, f16c, avx512f, avx512bw, avx512vl, avx512_bf16, amx_tile, amx_bf16, sha_ni;
};

const Features& features();

// Whether this process may use tiles: asks the operating system once. Call only on processors that have them.
bool tiles_granted();

}  // namespace dcnn
