#include "memory.h"

#include <algorithm>
#include <stdexcept>

namespace py = pybind11;

namespace dcnn {

void Touched::add(const char* name, const py::array& array, int64_t index, bool written) {
  if (array.size() == 0) return;
  auto first = reinterpret_cast<uintptr_t>(array.data());
  uintptr_t last = first + static_cast<uintptr_t>(array.itemsize());
  for (py::ssize_t axis = 0; axis < array.ndim(); ++axis) {
    const auto reach = static_cast<uintptr_t>(array.strides(axis)) * static_cast<uintptr_t>(array.shape(axis) - 1);  // modulo 2**64
    (array.strides(axis) < 0 ? first : last) += reach;
  }
  uses_.push_back({name, index, &array, written, first, last});
}

// numpy decides about arrays that interleave; where that would take long, they count as shared.
bool Touched::share(const Use& one, const Use& other) {
  constexpr int kMostWork = 10000;
  try {
    return py::module_::import("numpy").attr("shares_memory")(*one.array, *other.array, kMostWork).cast<bool>();
  } catch (py::error_already_set&) {
    return true;
  }
}

void Touched::require_apart() {
  std::sort(uses_.begin(), uses_.end(), [](const Use& a, const Use& b) { return a.first < b.first; });
  uintptr_t read = 0, written = 0;  // ends of the arrays so far
  for (size_t i = 0; i < uses_.size(); ++i) {
    const Use& use = uses_[i];
    const bool near = written > use.first || (use.written && read > use.first);
    for (size_t k = 0; near && k < i; ++k) {
      const Use& other = uses_[k];
      if (other.last > use.first && (use.written || other.written) && share(other, use)) {
        const auto& [one, two] = use.written ? std::pair{use, other} : std::pair{other, use};
        throw std::invalid_argument(one.full_name() + " is written to and must share no memory with " + two.full_name());
      }
    }
    (use.written ? written : read) = std::max(use.written ? written : read, use.last);
  }
}

}  // namespace dcnn
