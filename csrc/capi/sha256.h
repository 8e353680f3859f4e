// SHA-256 (FIPS 180-4).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace dcnn {

class Sha256 {
 public:
  Sha256& add(const void* bytes, size_t size);
  Sha256& add(const std::string& text) { return add(text.data(), text.size()); }

  // Of all that was added, which ends here.
  std::array<uint8_t, 32> digest();

 private:
  std::array<uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<uint8_t, 64> block_{};
  size_t filled_ = 0;
  uint64_t bytes_ = 0;
};

std::string hexadecimal(const std::array<uint8_t, 32>& digest);

}  // namespace dcnn
