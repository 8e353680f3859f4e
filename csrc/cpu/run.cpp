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

namespace {

// Pairs of bfloat16 in place of floats: of each run of consecutive products, two by two, the first in the lower half.
std::vector<float> pack_pairs(const Isa& isa, const BlockProblem& p, const float* weight) {
  const int64_t block = isa.filter_block, per_group = p.group_filters(), taps = p.size * p.size;
  const int64_t blocks = round_up(per_group, block) / block, channels = p.group_channels();
  const int64_t runs = p.groups == 1 ? p.size : taps, run = taps * channels / runs, steps = (run + 1) / 2;
  std::vector<float> packed(static_cast<size_t>(p.groups * blocks * runs * steps * block), 0.0f);
  auto* halves = reinterpret_cast<unsigned char*>(packed.data());
  for (int64_t f = 0; f < p.filters; ++f) {
    const int64_t within = f % per_group;
    const int64_t first = (f / per_group * blocks + within / block) * runs * steps * block + within % block;
    for (int64_t k = 0; k < taps * channels; ++k) {  // over taps, then channels
      const uint16_t value = to_bf16(weight[(f * channels + k % channels) * taps + k / channels]);
      const int64_t at = first + (k / run * steps + k % run / 2) * block;
      std::memcpy(halves + at * 4 + k % run % 2 * 2, &value, sizeof value);
    }
  }
  return packed;
}

}  // namespace

std::vector<float> pack_weight(const Isa& isa, const BlockProblem& p, const float* weight) {
  if (p.bf16 && isa.bf16_pairs) return pack_pairs(isa, p, weight);
  const int64_t block = isa.filter_block, per_group = p.group_filters(), run = p.group_channels();
  const int64_t blocks = round_up(per_group, block) / block, taps = p.size * p.size;
  std::vector<float> packed(static_cast<size_t>(p.groups * blocks * taps * run * block), 0.0f);
  for (int64_t f = 0; f < p.filters; ++f) {
    const int64_t within = f % per_group;
    float* to = packed.data() + (f / per_group * blocks + within / block) * taps * run * block + within % block;
    for (int64_t tap = 0; tap < taps; ++tap) {
      for (int64_t c = 0; c < run; ++c) {
        const float value = weight[(f * run + c) * taps + tap];
        to[(tap * run + c) * block] = p.bf16 ? from_bf16(to_bf16(value)) : value;
      }
    }
  }
  return packed;
}

std::vector<float> pack_bias(const Isa& isa, const BlockProblem& p, const float* bias) {
  const int64_t per_group = p.group_filters(), padded = round_up(per_group, isa.filter_block);
  std::vector<float> packed(static_cast<size_t>(p.groups * padded), 0.0f);
  for (int64_t f = 0; bias != nullptr && f < p.filters; ++f) {
    packed[static_cast<size_t>(f / per_group * padded + f % per_group)] = bias[f];
  }
  return packed;
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
