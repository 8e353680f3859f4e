// Access to the memory of numpy arrays: type, extents and order are checked here, so nothing is read or written out of bounds.
#pragma once

#include <pybind11/numpy.h>

#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/regions.h"

namespace dcnn {

[[noreturn]] inline void refuse(const std::string& name, const std::string& rule, const std::string& got) {
  throw std::invalid_argument(name + " must be " + rule + ", got " + got);
}

// "[2, 3]".
template <typename Extents>
std::string listed(const Extents* extents, size_t count) {
  std::string text = "[";
  for (size_t i = 0; i < count; ++i) text += (i > 0 ? ", " : "") + std::to_string(extents[i]);
  return text + "]";
}

// "float32 [2, 3]".
inline std::string described(const pybind11::array& array) {
  return pybind11::str(array.dtype()).cast<std::string>() + " " + listed(array.shape(), static_cast<size_t>(array.ndim()));
}

// Whether the memory and all strides are aligned to a value's size.
inline bool aligned(const pybind11::array& array) {
  return (array.flags() & pybind11::detail::npy_api::NPY_ARRAY_ALIGNED_) != 0;
}

inline bool contiguous(const pybind11::array& array) { return (array.flags() & pybind11::array::c_style) != 0; }

// Whether values are contiguous with the axes in this order, outermost first; strides of axes with one value do not matter.
inline bool lies_in_order(const pybind11::array& array, const std::vector<int>& axes) {
  if (array.size() == 0) return true;
  pybind11::ssize_t expected = array.itemsize();
  for (auto axis = axes.rbegin(); axis != axes.rend(); ++axis) {
    if (array.shape(*axis) > 1 && array.strides(*axis) != expected) return false;
    expected *= array.shape(*axis);
  }
  return true;
}

inline bool channels_last(const pybind11::array& array) { return lies_in_order(array, {0, 2, 3, 1}); }

template <typename Value>
bool holds(const pybind11::array& array) {
  return pybind11::array_t<Value, 0>::check_(array);
}

template <typename Value>
void require_values(const std::string& name, const pybind11::array& array, const char* type) {
  if (!holds<Value>(array) || !aligned(array)) refuse(name, std::string("aligned values of ") + type, described(array));
}

inline void require_shape(const std::string& name, const pybind11::array& array, const std::vector<int64_t>& shape) {
  bool same = array.ndim() == static_cast<pybind11::ssize_t>(shape.size());
  for (size_t i = 0; same && i < shape.size(); ++i) same = array.shape(static_cast<pybind11::ssize_t>(i)) == shape[i];
  if (!same) refuse(name, listed(shape.data(), shape.size()), described(array));
}

// The memory of an array for writing.
template <typename Value>
Value* written(const std::string& name, const pybind11::array& array) {
  if (!array.writeable()) refuse(name, "writeable", "an array that is only to be read");
  return static_cast<Value*>(const_cast<void*>(array.data()));
}

// A matrix of int64 as records of core/tables.h, not copied.
template <typename Row>
Rows<Row> rows_of(const std::string& name, const pybind11::array& table) {
  constexpr auto kFields = static_cast<pybind11::ssize_t>(sizeof(Row) / sizeof(int64_t));
  if (!holds<int64_t>(table) || table.ndim() != 2 || table.shape(1) != kFields || !contiguous(table) || !aligned(table)) {
    refuse(name, "a contiguous table of int64 [n, " + std::to_string(kFields) + "]", described(table));
  }
  return {static_cast<const Row*>(table.data()), static_cast<int64_t>(table.shape(0))};
}

using ShapeList = std::vector<std::tuple<int64_t, int64_t, int64_t>>;  // (images, rows, columns) of each entry

inline std::vector<ImagesShape> shapes_of(const ShapeList& list) {
  std::vector<ImagesShape> shapes;
  for (const auto& [images, rows, cols] : list) shapes.push_back({images, rows, cols});
  return shapes;
}

// True for "up", false for "down".
inline bool rounds_up(const std::string& rounding) {
  if (rounding != "up" && rounding != "down") refuse("rounding", "up or down", "'" + rounding + "'");
  return rounding == "up";
}

inline void require_threads(int threads) {
  if (threads < 1) refuse("threads", "at least 1", std::to_string(threads));
}

}  // namespace dcnn
