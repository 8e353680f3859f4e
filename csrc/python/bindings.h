// The parts of the module, put together in module.cpp, one file a subject.
#pragma once

#include <pybind11/pybind11.h>

namespace dcnn {

// The records of core/tables.h as numpy dtypes.
void bind_tables(pybind11::module_& m);

// The rules of core/regions.
void bind_regions(pybind11::module_& m);

// The block: its records and calls.
void bind_block(pybind11::module_& m);

// A column's blocks in one call.
void bind_column(pybind11::module_& m);

// Networks of inverted residual blocks.
void bind_backbone(pybind11::module_& m);

// The inverted residual block.
void bind_mbconv(pybind11::module_& m);

// The fully-connected layer and the update of parameters.
void bind_products(pybind11::module_& m);

// Plans of core/plan, and the engine's tiles.
void bind_plan(pybind11::module_& m);

// Tables that GPU launches read.
void bind_launch(pybind11::module_& m);

// Views: offsets of windows, filters, cuts of photographs.
void bind_views(pybind11::module_& m);

// Operations on a decoded photograph's pixels.
void bind_pixels(pybind11::module_& m);

// The digest and reduced picture that scoring needs from a decoded photograph.
void bind_summary(pybind11::module_& m);

}  // namespace dcnn
