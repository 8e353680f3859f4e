#include "capi/sha256.h"

#include <algorithm>
#include <cstring>

#ifdef DCNN_X86
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace dcnn {

namespace {

alignas(16) constexpr uint32_t kRounds[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
    0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
    0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
    0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
    0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

uint32_t turned(uint32_t value, int bits) { return value >> bits | value << (32 - bits); }

void compress_plainly(std::array<uint32_t, 8>& state, const uint8_t* block) {
  uint32_t w[64];
  for (int i = 0; i < 16; ++i) {
    const uint8_t* at = block + 4 * i;
    w[i] = uint32_t{at[0]} << 24 | uint32_t{at[1]} << 16 | uint32_t{at[2]} << 8 | at[3];
  }
  for (int i = 16; i < 64; ++i) {
    const uint32_t first = turned(w[i - 15], 7) ^ turned(w[i - 15], 18) ^ w[i - 15] >> 3;
    const uint32_t second = turned(w[i - 2], 17) ^ turned(w[i - 2], 19) ^ w[i - 2] >> 10;
    w[i] = w[i - 16] + first + w[i - 7] + second;
  }
  auto [a, b, c, d, e, f, g, h] = state;
  for (int i = 0; i < 64; ++i) {
    const uint32_t chosen = (e & f) ^ (~e & g), most = (a & b) ^ (a & c) ^ (b & c);
    const uint32_t first = h + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + chosen + kRounds[i] + w[i];
    const uint32_t second = (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + most;
    h = g, g = f, f = e, e = d + first, d = c, c = b, b = a, a = first + second;
  }
  const uint32_t added[8] = {a, b, c, d, e, f, g, h};
  for (size_t i = 0; i < 8; ++i) state[i] += added[i];
}

#ifdef DCNN_X86

bool has_sha() {
  uint32_t a, b, c, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b >> 29 & 1) != 0;
}

// The same by the processor's own instructions, several times as fast. They hold the state as (a, b, e, f) and (c, d, g, h), the first
// in the highest lane, and do four rounds on four words.
__attribute__((target("sha,sse4.1"))) void compress_by_sha(std::array<uint32_t, 8>& state, const uint8_t* block) {
  const __m128i big_endian = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
  const auto lanes = [&](int i, int j, int k, int l) {
    return _mm_set_epi32(static_cast<int>(state[i]), static_cast<int>(state[j]), static_cast<int>(state[k]), static_cast<int>(state[l]));
  };
  const __m128i abef_before = lanes(0, 1, 4, 5), cdgh_before = lanes(2, 3, 6, 7);
  __m128i abef = abef_before, cdgh = cdgh_before, w[16];
  for (int i = 0; i < 16; ++i) {
    if (i < 4) {
      w[i] = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(block + 16 * i)), big_endian);
    } else {
      const __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(w[i - 4], w[i - 3]), _mm_alignr_epi8(w[i - 1], w[i - 2], 4));
      w[i] = _mm_sha256msg2_epu32(sum, w[i - 1]);
    }
    const __m128i words = _mm_add_epi32(w[i], _mm_load_si128(reinterpret_cast<const __m128i*>(kRounds + 4 * i)));
    cdgh = _mm_sha256rnds2_epu32(cdgh, abef, words);
    abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(words, 0x0E));
  }
  alignas(16) uint32_t first[4], second[4];
  _mm_store_si128(reinterpret_cast<__m128i*>(first), _mm_add_epi32(abef, abef_before));
  _mm_store_si128(reinterpret_cast<__m128i*>(second), _mm_add_epi32(cdgh, cdgh_before));
  state = {first[3], first[2], second[3], second[2], first[1], first[0], second[1], second[0]};
}

#endif

void compress(std::array<uint32_t, 8>& state, const uint8_t* block) {
#ifdef DCNN_X86
  static const bool by_sha = has_sha();
  if (by_sha) return compress_by_sha(state, block);
#endif
  compress_plainly(state, block);
}

}  // namespace

Sha256& Sha256::add(const void* bytes, size_t size) {
  const auto* at = static_cast<const uint8_t*>(bytes);
  bytes_ += size;
  while (size > 0) {
    if (filled_ == 0 && size >= block_.size()) {  // whole blocks where they lie
      compress(state_, at);
      at += block_.size();
      size -= block_.size();
      continue;
    }
    const size_t taken = std::min(size, block_.size() - filled_);
    std::memcpy(block_.data() + filled_, at, taken);
    at += taken;
    size -= taken;
    filled_ = (filled_ + taken) % block_.size();
    if (filled_ == 0) compress(state_, block_.data());
  }
  return *this;
}

std::array<uint8_t, 32> Sha256::digest() {
  const uint64_t bits = 8 * bytes_;
  constexpr uint8_t kEnd = 0x80, kZero = 0;
  add(&kEnd, 1);
  while (filled_ != 56) add(&kZero, 1);
  uint8_t length[8];
  for (int i = 0; i < 8; ++i) length[i] = static_cast<uint8_t>(bits >> (56 - 8 * i));
  add(length, sizeof length);
  std::array<uint8_t, 32> found{};
  for (size_t i = 0; i < found.size(); ++i) found[i] = static_cast<uint8_t>(state_[i / 4] >> (24 - 8 * (i % 4)));
  return found;
}

std::string hexadecimal(const std::array<uint8_t, 32>& digest) {
  std::string text;
  for (const uint8_t byte : digest) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

}  // namespace dcnn
