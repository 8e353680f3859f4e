// Upper bounds on a network's sizes; dcnn_fast/networks/bounds.py gives the reasons.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

namespace dcnn {

constexpr int64_t kMostSide = 4096, kMostFilterSide = 255, kMostNormSize = 1023, kMostChannels = 64, kMostWidth = int64_t{1} << 20;
constexpr size_t kMostBlocks = 256, kMostFcLayers = 64, kMostColumns = 64, kMostLabels = size_t{1} << 16, kMostNameLetters = 1000;
constexpr double kMostParameters = 2147483648.0, kMostMultiplications = 68719476736.0, kMostValues = 33554432.0;
constexpr double kLargestNumber = std::numeric_limits<double>::max();

}  // namespace dcnn
