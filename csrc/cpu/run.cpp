#include "run.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "buffer.h"

namespace dcnn {
namespace {

// Scratch that is used again: fresh memory costs a page fault every 4 KiB. What is large is given back.
class ScratchPool {
 public:
  Buffer take() {
    const std::lock_guard<std::mutex> lock(guard_);
    if (free_.empty()) return Buffer();
    Buffer buffer = std::move(free_.back());
    free_.pop_back();
    return buffer;
  }

  void give(Buffer buffer) {
    const std::lock_guard<std::mutex> lock(guard_);
    if (buffer.size() > 0 && buffer.size() <= kLargest && free_.size() < kBuffers) free_.push_back(std::move(buffer));
  }

 private:
  static constexpr size_t kLargest = size_t{4} << 20, kBuffers = 64;  // 16 MiB each
  std::mutex guard_;
  std::vector<Buffer> free_;
};

ScratchPool& scratch_pool() {
  static ScratchPool pool;
  return pool;
}

// A thread's scratch while it works.
class Scratch {
 public:
  Scratch() : buffer_(scratch_pool().take()) {}
  ~Scratch() { scratch_pool().give(std::move(buffer_)); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  float* at_least(size_t floats) {
    if (buffer_.size() < floats) {
      buffer_ = Buffer();
      buffer_ = Buffer(floats);
    }
    return buffer_.data();
  }

 private:
  Buffer buffer_;
};

// work(i, scratch) for i in [0, count), on up to `threads` threads, each with scratch of its own.
// The first exception ends the work and is thrown again here.
template <typename Work>
void spread(int64_t count, int threads, const Work& work) {
  std::atomic<int64_t> next{0};
  std::exception_ptr failure;
  std::mutex guard;
  const auto loop = [&] {
    try {
      Scratch scratch;
      for (int64_t i = next++; i < count; i = next++) work(i, scratch);
    } catch (...) {
      next = count;
      const std::lock_guard<std::mutex> lock(guard);
      if (!failure) failure = std::current_exception();
    }
  };
  std::vector<std::thread> others;
  const int64_t wanted = std::min<int64_t>(threads, count) - 1;
  try {
    for (int64_t i = 0; i < wanted; ++i) others.emplace_back(loop);
  } catch (...) {
    // Fewer threads than wanted: the work gets done all the same.
  }
  loop();
  for (std::thread& other : others) other.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

std::vector<const Isa*> compiled_isas() {
#ifdef DCNN_X86
  return {&amx_isa(), &avx512_bf16_isa(), &avx512_isa(), &avx2_isa(), &portable_isa()};
#else
  return {&portable_isa()};
#endif
}

std::vector<const Isa*> available_isas() {
  std::vector<const Isa*> found = compiled_isas();
  found.erase(std::remove_if(found.begin(), found.end(), [](const Isa* isa) { return isa->refusal() != nullptr; }), found.end());
  return found;
}

std::vector<const Isa*> emulated_isas() {
#ifdef DCNN_X86
  if (amx_emulated_isa().refusal() == nullptr) return {&amx_emulated_isa()};
#endif
  return {};
}

const Isa& isa_named(const std::string& name) {
  std::string known;
  for (const Isa* isa : emulated_isas()) {
    if (name == isa->name) return *isa;
  }
  for (const Isa* isa : available_isas()) {
    if (name == isa->name) return *isa;
    known += (known.empty() ? "" : ", ") + std::string(isa->name);
  }
  throw std::invalid_argument("instruction set must be one of " + known + "; got '" + name + "'");
}

void run_block(const Isa& isa, const BlockProblem& p, const RegionRow* regions, int64_t count, int threads) {
  if (p.precision == Precision::bf16x3 && isa.bf16 != Bf16::tiles) {
    throw std::invalid_argument(std::string(isa.name) + " has no tile unit for bf16x3");
  }
  spread(count, threads, [&](int64_t i, Scratch& scratch) {
    isa.region(p, regions[i], scratch.at_least(isa.region_scratch(p, regions[i])));
  });
}

void run_linear(const Isa& isa, const LinearProblem& p, int threads) {
  if (p.bf16 && isa.bf16 == Bf16::floats) throw std::invalid_argument(std::string(isa.name) + " has no products of bfloat16");
  constexpr int64_t kSlice = 48;  // outputs a thread takes at a time
  LinearProblem packed = p;
  Buffer rows;
  if (p.bf16 && isa.pack_rows != nullptr) {
    rows = Buffer(isa.rows_floats(p));
    isa.pack_rows(p, rows.data());
    packed.packed_rows = rows.data();
  }
  spread((p.outputs + kSlice - 1) / kSlice, threads, [&](int64_t i, Scratch& scratch) {
    const int64_t first = i * kSlice, last = std::min(first + kSlice, p.outputs);
    isa.linear(packed, first, last, scratch.at_least(isa.linear_scratch(packed, first, last)));
  });
}

}  // namespace dcnn
