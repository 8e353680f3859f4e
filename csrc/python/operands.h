// A block's operands from Python: a wrong one is a ValueError that names it.
#pragma once

#include <pybind11/numpy.h>

#include <optional>
#include <string>

#include "block_spec.h"
#include "core/regions.h"
#include "kernel.h"
#include "pack.h"

namespace dcnn {

// [filters, channels of a group, size, size], contiguous or in channels_last memory, and [filters]. name: prefix of both in
// messages.
Weights weights_of(const BlockSpec& block, const pybind11::array& weight, const std::optional<pybind11::array>& bias,
                   const std::string& name = "");

// [images, channels, rows, cols] of bytes or floats, any strides.
Source source_of(const std::string& name, const pybind11::array& array, const ImagesShape& shape, int64_t channels);

void require_precision(const Isa& isa, const BlockSpec& block);

// The block with a mean for each channel: zeros where it has none.
BlockSpec with_mean(BlockSpec block);

}  // namespace dcnn
