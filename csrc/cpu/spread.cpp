#include "spread.h"

#include <stdexcept>
#include <utility>

namespace dcnn {
namespace {

// Scratch for reuse. Large buffers are freed instead.
class ScratchPool {
 public:
  ScratchPool() { free_.reserve(kBuffers); }

  Buffer take() {
    const std::lock_guard<std::mutex> lock(guard_);
    if (free_.empty()) return Buffer();
    Buffer buffer = std::move(free_.back());
    free_.pop_back();
    return buffer;
  }

  // Allocates nothing: it may run while an exception propagates.
  void give(Buffer buffer) noexcept {
    const std::lock_guard<std::mutex> lock(guard_);
    if (buffer.size() > 0 && buffer.size() <= kLargest && free_.size() < kBuffers) free_.push_back(std::move(buffer));
  }

  void lock() { guard_.lock(); }
  void unlock() { guard_.unlock(); }

 private:
  static constexpr size_t kLargest = size_t{4} << 20, kBuffers = 64;  // 16 MiB each
  std::mutex guard_;
  std::vector<Buffer> free_;
};

ScratchPool& scratch_pool = *new ScratchPool;  // created when the engine is loaded: see the cache in pack.cpp

}  // namespace

Scratch::Scratch() : buffer_(scratch_pool.take()) {}

Scratch::~Scratch() { scratch_pool.give(std::move(buffer_)); }

float* Scratch::at_least(size_t floats) {
  constexpr size_t kMost = size_t{1} << 34;
  if (floats > kMost) throw std::invalid_argument("one piece of the work takes more than 64 GiB of memory: cut it up");
  return buffer_.at_least(floats);
}

void lock_scratch() { scratch_pool.lock(); }

void unlock_scratch() { scratch_pool.unlock(); }

}  // namespace dcnn
