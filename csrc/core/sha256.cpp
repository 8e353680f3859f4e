#include "core/sha256.h"

#include <algorithm>
#include <cstring>

namespace dcnn {

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

}  // namespace dcnn
