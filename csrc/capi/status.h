// What goes wrong at the border, by the numbers that callers are given.
#pragma once

#include <stdexcept>
#include <string>

#include "dcnn_fast.h"

namespace dcnn {

// A failure that has a number of its own. Others are told by their types: see capi.cpp.
class Failure : public std::runtime_error {
 public:
  Failure(dcnn_status status, const std::string& why) : std::runtime_error(why), status_(status) {}

  dcnn_status status() const { return status_; }

 private:
  dcnn_status status_;
};

}  // namespace dcnn
