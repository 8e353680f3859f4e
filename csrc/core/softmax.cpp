#include "core/softmax.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace dcnn {

namespace {

// 2^(j / 32): its first 47 bits, and the remainder.
constexpr double kHead[32] = {
    0x1.0000000000000p0, 0x1.059b0d3158540p0, 0x1.0b5586cf98900p0, 0x1.11301d0125b40p0,
    0x1.172b83c7d5140p0, 0x1.1d4873168b980p0, 0x1.2387a6e756200p0, 0x1.29e9df51fdec0p0,
    0x1.306fe0a31b700p0, 0x1.371a7373aa9c0p0, 0x1.3dea64c123400p0, 0x1.44e0860618900p0,
    0x1.4bfdad5362a00p0, 0x1.5342b569d4f80p0, 0x1.5ab07dd485400p0, 0x1.6247eb03a5580p0,
    0x1.6a09e667f3bc0p0, 0x1.71f75e8ec5f40p0, 0x1.7a11473eb0180p0, 0x1.82589994cce00p0,
    0x1.8ace5422aa0c0p0, 0x1.93737b0cdc5c0p0, 0x1.9c49182a3f080p0, 0x1.a5503b23e2540p0,
    0x1.ae89f995ad380p0, 0x1.b7f76f2fb5e40p0, 0x1.c199bdd855280p0, 0x1.cb720dcef9040p0,
    0x1.d5818dcfba480p0, 0x1.dfc97337b9b40p0, 0x1.ea4afa2a490c0p0, 0x1.f50765b6e4540p0,
};
constexpr double kTail[32] = {
    0.0, 0x1.a1d73e2a475b4p-47, 0x1.ec5317256e308p-49, 0x1.0a4ebbf1aed93p-48,
    0x1.d6e6fbe462876p-47, 0x1.53c02dc0144c8p-47, 0x1.c3360fd6d8e0bp-47, 0x1.09612e8afad12p-47,
    0x1.52de8d5a46306p-48, 0x1.54e28aa05e8a9p-49, 0x1.11ada0911f09fp-47, 0x1.68189b7a04ef8p-47,
    0x1.38ea1cbd7f621p-47, 0x1.df0a83c49d86ap-52, 0x1.4ac64980a8c8fp-47, 0x1.2c7c3e81bf4b7p-50,
    0x1.921165f626cddp-49, 0x1.9ee91b8797785p-47, 0x1.b5f54408fdb37p-50, 0x1.28acf88afab35p-48,
    0x1.b5ba7c55a192dp-48, 0x1.27a280e1f92a0p-47, 0x1.01c7c46b071f3p-48, 0x1.c8b424491caf8p-48,
    0x1.6af439a68bb99p-47, 0x1.baa9ec206ad4fp-50, 0x1.c2220cb12a092p-48, 0x1.48a81e5e8f4a5p-47,
    0x1.c976816bad9b8p-50, 0x1.eb968cac39ed3p-48, 0x1.9858f73a18f5ep-48, 0x1.9d3e12dd8a18bp-54,
};
constexpr double kPerOctave = 0x1.71547652b82fep5;                              // 32 / ln 2
constexpr double kStepHead = 0x1.62e42fefp-6, kStepTail = 0x1.473de6af278edp-39;  // ln 2 / 32
constexpr double kRounder = 0x1.8p52;  // adding and subtracting it rounds to whole numbers
// exp(r) - 1 = r + r^2 * (a[0] + a[1] * r + ...), near 0.
constexpr double kPowers[5] = {0x1p-1, 0x1.5555555548f7cp-3, 0x1.5555555545d4ep-5, 0x1.11115b7aa905ep-7, 0x1.6c1728d739765p-10};
constexpr double kLargest = 0x1.62e42fefa39efp9, kSmallest = -0x1.74910d52d3053p9, kNearZero = 0x1p-54;

constexpr int64_t kLanes = 8, kBlock = 128;  // of sums

double sum_of_few(const double* values, int64_t count, int64_t stride) {
  double total = 0.0;
  for (int64_t i = 0; i < count; ++i) total += values[i * stride];
  return total;
}

double sum_of_block(const double* values, int64_t count, int64_t stride) {
  double r[kLanes];
  for (int64_t lane = 0; lane < kLanes; ++lane) r[lane] = values[lane * stride];
  int64_t i = kLanes;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) r[lane] += values[(i + lane) * stride];
  }
  double total = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
  for (; i < count; ++i) total += values[i * stride];
  return total;
}

}  // namespace

double exponential(double x) {
  if (std::isnan(x)) return x;
  if (x > kLargest) return std::numeric_limits<double>::infinity();
  if (x < kSmallest) return 0.0;
  if (std::fabs(x) < kNearZero) return 1.0 + x;
  const double product = x * kPerOctave;
  const double steps = (product + kRounder) - kRounder;
  const double head = std::fma(steps, -kStepHead, x), tail = steps * -kStepTail, r = head + tail;
  double q = kPowers[4];
  for (int power = 3; power >= 0; --power) q = std::fma(q, r, kPowers[power]);
  const double p = head + std::fma(r, q * r, tail);
  const auto whole = static_cast<int64_t>(steps);
  const int64_t j = whole & 31;
  const double scale = kHead[j] + kTail[j];
  return std::ldexp(std::fma(scale, p, kTail[j]) + kHead[j], static_cast<int>((whole - j) / 32));
}

double pairwise_sum(const double* values, int64_t count, int64_t stride) {
  if (count < kLanes) return sum_of_few(values, count, stride);
  if (count <= kBlock) return sum_of_block(values, count, stride);
  const int64_t half = count / 2 - count / 2 % kLanes;
  return pairwise_sum(values, half, stride) + pairwise_sum(values + half * stride, count - half, stride);
}

void softmax(const float* logits, int64_t rows, int64_t labels, double* probabilities) {
  for (int64_t row = 0; row < rows; ++row, logits += labels, probabilities += labels) {
    double largest = -std::numeric_limits<double>::infinity();
    for (int64_t i = 0; i < labels; ++i) {
      const double logit = logits[i];
      largest = logit > largest || std::isnan(logit) ? logit : largest;
      if (std::isnan(largest)) break;
    }
    for (int64_t i = 0; i < labels; ++i) probabilities[i] = exponential(static_cast<double>(logits[i]) - largest);
    const double total = pairwise_sum(probabilities, labels, 1);
    for (int64_t i = 0; i < labels; ++i) probabilities[i] /= total;
  }
}

}  // namespace dcnn
