// Work distributed over threads, each with its own scratch.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "buffer.h"
#include "plain_arithmetic.h"

namespace dcnn {

// A working thread's scratch, reused afterwards: fresh memory costs a page fault every 4 KiB.
class Scratch {
 public:
  Scratch();
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // Throws std::invalid_argument for more than 64 GiB.
  float* at_least(size_t floats);

 private:
  Buffer buffer_;
};

// Calls work(i, scratch) for i in [0, count), on up to `threads` threads. The first exception stops the work and is rethrown
// here.
template <typename Work>
void spread(int64_t count, int threads, const Work& work) {
  std::atomic<int64_t> next{0};
  std::exception_ptr failure;
  std::mutex guard;
  const auto loop = [&] {
    try {
      const PlainArithmetic plain;
      Scratch scratch;
      for (int64_t i = next++; i < count; i = next++) work(i, scratch);
    } catch (...) {
      next = count;
      const std::lock_guard<std::mutex> lock(guard);
      if (!failure) failure = std::current_exception();
    }
  };
  constexpr int64_t kMostThreads = 1024;
  std::vector<std::thread> others;
  const int64_t wanted = std::min(std::min<int64_t>(threads, kMostThreads), count) - 1;
  try {
    for (int64_t i = 0; i < wanted; ++i) others.emplace_back(loop);
  } catch (...) {
    // The system gave fewer threads; they still finish the work.
  }
  loop();
  for (std::thread& other : others) other.join();
  if (failure) std::rethrow_exception(failure);
}

// For use around a fork: see run.h.
void lock_scratch();
void unlock_scratch();

}  // namespace dcnn
