// The regions of a column's blocks, opaque to Python.
#pragma once

#include <memory>

#include "core/plan/tables.h"

namespace dcnn {

struct HeldRegions {
  std::shared_ptr<ColumnRegions> blocks;
};

}  // namespace dcnn
