#include "cpu_features.h"

#include <cstdint>

#ifdef DCNN_X86
#include <cpuid.h>
#endif
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace dcnn {
namespace {

#ifdef DCNN_X86

// Register states that the operating system saves; without a state's bit, its instructions must not be used even if they exist.
uint64_t saved_states() {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

Features detect() {
  Features f{};
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return f;
  f.sse2 = d >> 26 & 1;
  const bool fma = c >> 12 & 1, f16c = c >> 29 & 1, osxsave = c >> 27 & 1;
  if (!osxsave) return f;
  const uint64_t saved = saved_states();
  const bool ymm = (saved & 0x6) == 0x6, zmm = (saved & 0xe6) == 0xe6, tiles = (saved & 0x60000) == 0x60000;
  f.fma = fma && ymm;
  f.f16c = f16c && ymm;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return f;
  f.avx2 = (b >> 5 & 1) && ymm;
  f.sha_ni = b >> 29 & 1;
  f.avx512f = (b >> 16 & 1) && zmm;
  f.avx512bw = (b >> 30 & 1) && zmm;
  f.avx512vl = (b >> 31 & 1) && zmm;
  f.amx_bf16 = (d >> 22 & 1) && tiles;
  f.amx_tile = (d >> 24 & 1) && tiles;
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) f.avx512_bf16 = (a >> 5 & 1) && zmm;
  return f;
}

#else

Features detect() { return Features{}; }

#endif

// Linux saves 8 KiB of tiles only for processes that ask for it, with arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA).
bool request_tiles() {
#if defined(DCNN_X86) && defined(__linux__) && defined(SYS_arch_prctl)
  return syscall(SYS_arch_prctl, 0x1023, 18) == 0;
#else
  return false;
#endif
}

}  // namespace

const Features& features() {
  static const Features found = detect();
  return found;
}

bool tiles_granted() {
  static const bool granted = request_tiles();
  return granted;
}

}  // namespace dcnn
