// Memory for kernels, aligned to cache lines, so that no vector load or store crosses one.
#pragma once

#include <cstddef>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "core/sizes.h"

namespace dcnn {

// The memory is not available; the message gives the size wanted.
class NoMemory : public std::bad_alloc {
 public:
  explicit NoMemory(size_t floats) {
    std::snprintf(message_, sizeof message_, "the engine cannot have memory for %zu floats", floats);
  }
  const char* what() const noexcept override { return message_; }

 private:
  char message_[80];
};

// `size` floats, uninitialised. Throws NoMemory.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t size) : floats_(allocated(size)), size_(size) { poison(size); }
  Buffer(Buffer&& other) noexcept : floats_(std::move(other.floats_)), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    floats_ = std::move(other.floats_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  static Buffer zeros(size_t size) {
    Buffer buffer(size);
    if (size > 0) std::memset(buffer.data(), 0, size * sizeof(float));
    return buffer;
  }

  // Room for `size` floats. The previous contents are lost.
  float* at_least(size_t size) {
    if (size_ < size) {
      *this = Buffer();  // frees the old memory first
      *this = Buffer(size);
    }
    poison(size);
    return data();
  }

  float* data() { return floats_.get(); }
  const float* data() const { return floats_.get(); }
  size_t size() const { return size_; }

 private:
  static constexpr std::align_val_t kLine{64};
  struct Free {
    void operator()(float* floats) const { ::operator delete(floats, kLine); }
  };

  static float* allocated(size_t size) {
    constexpr size_t kMost = static_cast<size_t>(kMostBytes) / sizeof(float);
    void* found = size > kMost ? nullptr : ::operator new(size * sizeof(float), kLine, std::nothrow);
    if (found == nullptr) throw NoMemory(size);
    return static_cast<float*>(found);
  }

  // Fills unwritten memory with NaN, both as float and as bfloat16, in sanitized builds: kernels that read it are found out.
  void poison([[maybe_unused]] size_t size) {
#if DCNN_SANITIZED
    if (size > 0) std::memset(floats_.get(), 0xFF, size * sizeof(float));
#endif
  }

  std::unique_ptr<float, Free> floats_;
  size_t size_ = 0;
};

}  // namespace dcnn
