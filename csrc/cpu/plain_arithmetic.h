// Restores C++'s default floating point, whatever a program has set for its threads: flushing denormal numbers to zero
// (torch.set_flush_denormal), which new threads inherit, would change the last bits of sums.
#pragma once

#include <cfenv>

namespace dcnn {

class PlainArithmetic {
 public:
  PlainArithmetic() {
    std::fegetenv(&before_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~PlainArithmetic() { std::fesetenv(&before_); }
  PlainArithmetic(const PlainArithmetic&) = delete;
  PlainArithmetic& operator=(const PlainArithmetic&) = delete;

 private:
  std::fenv_t before_;
};

}  // namespace dcnn
