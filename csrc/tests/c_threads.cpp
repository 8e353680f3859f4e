// Runs several callers of the C library at once, which share a model, each on several threads, while others open and close
// models: for a build with ThreadSanitizer (`python -m devtools.sanitize --thread`). Every caller must get the bits of one
// caller on one thread.
//
//     c_threads MODEL
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#include "dcnn_fast.h"

namespace {

constexpr int kCallers = 4, kThreads = 3, kRounds = 6;
constexpr int64_t kWidth = 71, kHeight = 53, kViews = 5;

struct Answer {
  dcnn_status status = DCNN_INTERNAL;
  std::vector<double> samples;
};

std::vector<uint8_t> picture(uint32_t seed) {
  std::vector<uint8_t> pixels;
  for (int64_t i = 0; i < 3 * kWidth * kHeight; ++i) {
    seed = seed * 1664525u + 1013904223u;
    pixels.push_back(static_cast<uint8_t>(seed >> 24));
  }
  return pixels;
}

dcnn_model* opened(const char* path) {
  dcnn_model* model = nullptr;
  dcnn_error error;
  dcnn_error_init(&error);
  if (dcnn_model_open(path, &model, &error) != DCNN_OK) std::fprintf(stderr, "%s\n", error.message);
  return model;
}

Answer scored(const dcnn_model* model, const std::vector<uint8_t>& pixels, int threads) {
  dcnn_image image;
  dcnn_image_init(&image, pixels.data(), kWidth, kHeight);
  dcnn_options options;
  dcnn_options_init(&options);
  options.views = kViews;
  options.threads = threads;
  dcnn_result result;
  dcnn_result_init(&result);
  Answer answer;
  answer.samples.resize(kViews * dcnn_model_labels(model));
  result.samples = answer.samples.data();
  result.samples_count = answer.samples.size();
  dcnn_error error;
  dcnn_error_init(&error);
  answer.status = dcnn_score(model, &image, &options, &result, &error);
  if (answer.status != DCNN_OK) std::fprintf(stderr, "%s\n", error.message);
  return answer;
}

bool same(const Answer& a, const Answer& b) {
  return a.status == DCNN_OK && b.status == DCNN_OK && std::memcmp(a.samples.data(), b.samples.data(), a.samples.size() * sizeof(double)) == 0;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) return 2;
  const char* path = arguments[1];
  dcnn_model* shared = opened(path);
  if (shared == nullptr) return 1;
  std::vector<std::vector<uint8_t>> pictures;
  std::vector<Answer> expected;
  for (uint32_t seed = 0; seed < 3; ++seed) {
    pictures.push_back(picture(seed));
    expected.push_back(scored(shared, pictures.back(), 1));
  }
  std::atomic<int> calls{0}, wrong{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < kCallers; ++caller) {
    callers.emplace_back([&, caller] {
      dcnn_model* own = caller % 2 == 0 ? shared : opened(path);
      for (int round = 0; round < kRounds; ++round) {
        const size_t at = static_cast<size_t>(round + caller) % pictures.size();
        if (!same(scored(own, pictures[at], kThreads), expected[at])) ++wrong;
        ++calls;
      }
      if (own != shared) dcnn_model_close(own);
    });
  }
  for (std::thread& caller : callers) caller.join();
  dcnn_model_close(shared);
  std::printf("%d scores by %d callers on %d threads each: %d with other bits\n", calls.load(), kCallers, kThreads, wrong.load());
  return wrong == 0 ? 0 : 1;
}
