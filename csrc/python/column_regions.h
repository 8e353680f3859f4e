// The regions of a column's blocks, which Python holds without looking into them.
#pragma once

#include <memory>

#include "core/plan/tables.h"

namespace dcnn {

struct HeldRegions {
  std::shared_ptr<ColumnRegions> blocks;
};

}  // namespace dcnn
