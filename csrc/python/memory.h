// The arrays of one call: written ones must share no memory with others, or threads would race.
#pragma once

#include <pybind11/numpy.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace dcnn {

class Touched {
 public:
  // name: for messages. index: among several arrays of that name, -1 for a single one. The arrays must outlive this object.
  void reads(const char* name, const pybind11::array& array, int64_t index = -1) { add(name, array, index, false); }
  void writes(const char* name, const pybind11::array& array, int64_t index = -1) { add(name, array, index, true); }

  // Throws std::invalid_argument naming two arrays that share memory, one of which is written to.
  void require_apart();

 private:
  struct Use {
    const char* name;
    int64_t index;
    const pybind11::array* array;
    bool written;
    uintptr_t first, last;  // its bytes lie in [first, last)

    std::string full_name() const { return index < 0 ? name : name + ("[" + std::to_string(index) + "]"); }
  };

  void add(const char* name, const pybind11::array& array, int64_t index, bool written);
  static bool share(const Use& one, const Use& other);

  std::vector<Use> uses_;
};

}  // namespace dcnn
