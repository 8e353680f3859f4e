// SHA-256 of bytes that arrive in stretches; another function folds whole blocks into the state.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace dcnn {

constexpr int64_t kHashBlock = 64;  // bytes

using HashState = std::array<uint32_t, 8>;

// Whole blocks still to be folded into the state.
struct HashBlocks {
  uint32_t* state;
  const uint8_t* bytes;
  int64_t count;
};

using TakeBlocks = void (*)(const HashBlocks& blocks);

// Portable implementation.
void take_plain_hash_blocks(const HashBlocks& blocks);

alignas(16) extern const uint32_t kHashRounds[64];  // FIPS 180-4's constants K

class Hasher {
 public:
  // take: folds blocks where no other work runs alongside.
  explicit Hasher(TakeBlocks take) : take_(take) {}

  // The whole blocks available with the next bytes; fold them before any other call. The remaining bytes are kept.
  HashBlocks blocks_of(const uint8_t* bytes, int64_t count);

  void add(const uint8_t* bytes, int64_t count) { take_(blocks_of(bytes, count)); }

  void add(const std::string& text) { add(reinterpret_cast<const uint8_t*>(text.data()), static_cast<int64_t>(text.size())); }

  std::array<uint8_t, 32> finish();

 private:
  TakeBlocks take_;
  HashState state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<uint8_t, kHashBlock> begun_{};  // an incomplete block with `held_` bytes so far
  int64_t held_ = 0, total_ = 0;
};

std::string hexadecimal(const std::array<uint8_t, 32>& digest);

}  // namespace dcnn
