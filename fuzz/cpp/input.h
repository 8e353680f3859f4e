// Numbers from an input's bytes: a byte is a small number, or stands for one at which sums and products overflow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>

namespace dcnn {

constexpr int64_t kHostile[] = {
    INT64_MIN,        INT64_MIN + 1,     -(int64_t{1} << 31), -1000, 1000, 65535, int64_t{1} << 20, (int64_t{1} << 31) - 1,
    int64_t{1} << 31, int64_t{1} << 40, int64_t{1} << 62,    INT64_MAX,
};
constexpr int kFirstHostile = 240;  // bytes from here on stand for one of these; those below for themselves minus 2

class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), end_(data + size) {}

  // Any number; 0 where the input has ended.
  int64_t any() {
    if (data_ == end_) return 0;
    const int byte = *data_++;
    return byte < kFirstHostile ? byte - 2 : kHostile[static_cast<size_t>(byte - kFirstHostile) % std::size(kHostile)];
  }

  // One of 0 ... count - 1.
  int64_t below(int64_t count) { return data_ == end_ ? 0 : *data_++ % count; }

 private:
  const uint8_t* data_;
  const uint8_t* end_;
};

}  // namespace dcnn
