#include "run.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <thread>

namespace dcnn {
namespace {

// work(i, scratch) for i in [0, count), on up to `threads` threads, each with a scratch vector of its own that it may grow.
// The first exception ends the work and is thrown again here.
template <typename Work>
void spread(int64_t count, int threads, const Work& work) {
  std::atomic<int64_t> next{0};
  std::exception_ptr failure;
  std::mutex guard;
  const auto loop = [&] {
    try {
      std::vector<float> scratch;
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

float* at_least(std::vector<float>& scratch, size_t floats) {
  if (scratch.size() < floats) scratch.resize(floats);
  return scratch.data();
}

}  // namespace

std::vector<const Isa*> available_isas() {
  std::vector<const Isa*> found;
#ifdef DCNN_X86
  if (avx512_bf16_isa().supported()) found.push_back(&avx512_bf16_isa());
  if (avx512_isa().supported()) found.push_back(&avx512_isa());
  if (avx2_isa().supported()) found.push_back(&avx2_isa());
#endif
  found.push_back(&portable_isa());
  return found;
}

const Isa& isa_named(const std::string& name) {
  std::string known;
  for (const Isa* isa : available_isas()) {
    if (name == isa->name) return *isa;
    known += (known.empty() ? "" : ", ") + std::string(isa->name);
  }
  throw std::invalid_argument("instruction set must be one of " + known + "; got '" + name + "'");
}

void run_block(const Isa& isa, const BlockProblem& p, const RegionRow* regions, int64_t count, int threads) {
  spread(count, threads, [&](int64_t i, std::vector<float>& scratch) {
    isa.region(p, regions[i], at_least(scratch, isa.region_scratch(p, regions[i])));
  });
}

void run_linear(const Isa& isa, const LinearProblem& p, int threads) {
  if (p.bf16 && !isa.bf16_pairs) throw std::invalid_argument(std::string(isa.name) + " has no products of bfloat16");
  constexpr int64_t kSlice = 48;  // outputs a thread takes at a time
  spread((p.outputs + kSlice - 1) / kSlice, threads, [&](int64_t i, std::vector<float>& scratch) {
    const int64_t first = i * kSlice, last = std::min(first + kSlice, p.outputs);
    isa.linear(p, first, last, at_least(scratch, isa.linear_scratch(p, first, last)));
  });
}

}  // namespace dcnn
