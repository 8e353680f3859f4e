// Errors at the library's boundary, by their public numbers.
#pragma once

#include <stdexcept>
#include <string>

#include "dcnn_fast.h"

namespace dcnn {

// A failure with its own status. Other exceptions get their status from their type: see capi.cpp.
class Failure : public std::runtime_error {
 public:
  Failure(dcnn_status status, const std::string& why) : std::runtime_error(why), status_(status) {}

  dcnn_status status() const { return status_; }

 private:
  dcnn_status status_;
};

}  // namespace dcnn
