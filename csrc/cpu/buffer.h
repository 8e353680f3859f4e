// Memory for kernels: on cache lines, so that no vector load or store touches two of them.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>

namespace dcnn {

// `size` floats, uninitialised.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t size) : floats_(static_cast<float*>(::operator new(size * sizeof(float), kLine))), size_(size) {}

  static Buffer zeros(size_t size) {
    Buffer buffer(size);
    if (size > 0) std::memset(buffer.data(), 0, size * sizeof(float));
    return buffer;
  }

  float* data() { return floats_.get(); }
  const float* data() const { return floats_.get(); }
  size_t size() const { return size_; }

 private:
  static constexpr std::align_val_t kLine{64};
  struct Free {
    void operator()(float* floats) const { ::operator delete(floats, kLine); }
  };
  std::unique_ptr<float, Free> floats_;
  size_t size_ = 0;
};

}  // namespace dcnn
