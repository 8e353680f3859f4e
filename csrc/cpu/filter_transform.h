// The transform of a filter to the points of winograd_impl.h over one axis.
#pragma once

#include "core/tile.h"
#include "kernel.h"

namespace dcnn {
namespace {  // each instruction set's own

// A filter's values at the points of winograd_impl.h over one axis, each divided by the product of the point's distances to the
// others.
struct FilterTransform {
  int64_t points;
  double values[6][8] = {};  // of each tap at each point

  explicit FilterTransform(int64_t taps) : points(winograd_points(taps)) {
    double at[7] = {};
    for (int64_t i = 1; i < points - 1; ++i) {
      const double size = points == 6 ? winograd_points6[(i - 1) / 2] : winograd_points8[(i - 1) / 2];
      at[i] = i % 2 == 1 ? -size : size;
    }
    for (int64_t i = 0; i < points - 1; ++i) {
      double power = 1;
      for (int64_t j = 0; j < points - 1; ++j) power /= i == j ? 1 : at[i] - at[j];
      for (int64_t k = 0; k < taps; ++k, power *= at[i]) values[k][i] = power;
    }
    values[taps - 1][points - 1] = 1;
  }
};

}  // namespace
}  // namespace dcnn
