// Conversion of IEEE 16-bit floats.
#pragma once

#include <cstdint>
#include <cstring>

namespace dcnn {

inline float from_half(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16, rest = bits & 0x7FFFu;
  if (rest < 0x0400) {  // zero and subnormal numbers
    const float size = static_cast<float>(rest) * 0x1p-24f;
    return sign != 0 ? -size : size;
  }
  const uint32_t exponent = rest >= 0x7C00 ? 0x7F800000u - (0x7C00u << 13) : 112u << 23;  // infinities and NaN stay so
  const uint32_t wide = sign | ((rest << 13) + exponent);
  float value;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}

}  // namespace dcnn
