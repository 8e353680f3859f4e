#include "core/sha256.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace dcnn {

alignas(16) const uint32_t kHashRounds[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
    0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
    0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
    0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
    0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

namespace {

uint32_t turned(uint32_t value, int bits) { return value >> bits | value << (32 - bits); }

void compress(uint32_t* state, const uint8_t* block) {
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
  uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], h = state[7];
  for (int i = 0; i < 64; ++i) {
    const uint32_t chosen = (e & f) ^ (~e & g), most = (a & b) ^ (a & c) ^ (b & c);
    const uint32_t first = h + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + chosen + kHashRounds[i] + w[i];
    const uint32_t second = (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + most;
    h = g, g = f, f = e, e = d + first, d = c, c = b, b = a, a = first + second;
  }
  const uint32_t added[8] = {a, b, c, d, e, f, g, h};
  for (size_t i = 0; i < 8; ++i) state[i] += added[i];
}

}  // namespace

void take_plain_hash_blocks(const HashBlocks& blocks) {
  for (int64_t block = 0; block < blocks.count; ++block) compress(blocks.state, blocks.bytes + block * kHashBlock);
}

HashBlocks Hasher::blocks_of(const uint8_t* bytes, int64_t count) {
  total_ += count;
  if (held_ > 0) {
    const int64_t filled = std::min(kHashBlock - held_, count);
    std::memcpy(begun_.data() + held_, bytes, static_cast<size_t>(filled));
    held_ += filled;
    bytes += filled;
    count -= filled;
    if (held_ < kHashBlock) return {state_.data(), bytes, 0};
    take_({state_.data(), begun_.data(), 1});
  }
  const int64_t blocks = count / kHashBlock;
  held_ = count - blocks * kHashBlock;
  std::memcpy(begun_.data(), bytes + blocks * kHashBlock, static_cast<size_t>(held_));
  return {state_.data(), bytes, blocks};
}

std::array<uint8_t, 32> Hasher::finish() {
  std::array<uint8_t, 2 * kHashBlock> last{};
  std::copy_n(begun_.begin(), held_, last.begin());
  last[static_cast<size_t>(held_)] = 0x80;
  const int64_t blocks = held_ + 9 > kHashBlock ? 2 : 1;
  const uint64_t bits = 8 * static_cast<uint64_t>(total_);
  for (int64_t i = 0; i < 8; ++i) last[static_cast<size_t>(blocks * kHashBlock - 1 - i)] = static_cast<uint8_t>(bits >> (8 * i));
  take_({state_.data(), last.data(), blocks});
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
