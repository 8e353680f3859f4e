// The Python module `ptxsim._native`: converts numpy arrays for the headers. `ptxsim/native.py` says when it is used.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <stdexcept>

#include "matrix.hpp"
#include "memory.hpp"
#include "words.hpp"

namespace py = pybind11;
using namespace ptxsim;

namespace {

using OptionalArray = std::optional<py::array>;
using Tags = py::array_t<std::int64_t, py::array::c_style>;

struct Word16 { std::uint64_t parts[2]; };
struct Word32 { std::uint64_t parts[4]; };

template <class T>
Register<T> as_register(const py::array& array) {
  if (array.ndim() != 2 || array.itemsize() != sizeof(T)) throw std::invalid_argument("a register of another shape or width");
  const auto step = [&](int axis) { return array.shape(axis) == 1 ? 0 : static_cast<Index>(array.strides(axis)); };
  return {static_cast<const char*>(array.data()), step(0), step(1)};
}

Active as_active(const OptionalArray& mask) { return mask ? Active{as_register<std::uint8_t>(*mask)} : Active{}; }

Accesses as_accesses(const py::array& address, const OptionalArray& active, Index rows, Index threads) {
  return {as_register<std::int64_t>(address), as_active(active), rows, threads};
}

Index rows_of(const py::array& address, const OptionalArray& active) {
  return std::max<Index>(address.shape(0), active ? active->shape(0) : 1);
}

// Calls `f` with a word of `size` bytes; false where there is no such type.
template <class F>
bool with_word(Index size, F f) {
  switch (size) {
    case 1: f(std::uint8_t{}); return true;
    case 2: f(std::uint16_t{}); return true;
    case 4: f(std::uint32_t{}); return true;
    case 8: f(std::uint64_t{}); return true;
    case 16: f(Word16{}); return true;
    case 32: f(Word32{}); return true;
    default: return false;
  }
}

Shared as_shared(py::array& bytes, Index size, Tags& written, Tags& read, const py::array& epoch,
                 const std::optional<Tags>& pending, Index granule, Index instruction) {
  return {static_cast<char*>(bytes.mutable_data()), bytes.shape(0), bytes.shape(1), size, written.mutable_data(),
          read.mutable_data(), written.shape(0), exponent(granule), as_register<std::int64_t>(epoch),
          pending ? pending->data() : nullptr, instruction};
}

py::tuple as_counts(SharedCounts counts, Index repeat) {
  return py::make_tuple(counts.requests * repeat, counts.accesses * repeat, counts.wavefronts * repeat, counts.ideal * repeat);
}

py::array zeros(const py::dtype& type, Index rows, Index columns) {
  py::array out(type, std::vector<Index>{rows, columns});
  std::memset(out.mutable_data(), 0, out.nbytes());
  return out;
}

py::object shared_load(py::array bytes, Index size, Tags written, Tags read, py::array epoch, std::optional<Tags> pending,
                       Index granule, Index instruction, py::array address, OptionalArray active, Index threads, py::dtype type) {
  const Shared shared = as_shared(bytes, size, written, read, epoch, pending, granule, instruction);
  const Accesses accesses = as_accesses(address, active, rows_of(address, active), threads);
  py::array out = zeros(type, shared.blocks, threads);
  bool done = false;
  with_word(type.itemsize(), [&](auto word) {
    done = load_shared<decltype(word)>(accesses, shared, static_cast<char*>(out.mutable_data()));
  });
  if (!done) return py::none();
  return py::make_tuple(out, as_counts(count_banks(accesses, type.itemsize()), shared.blocks / accesses.rows));
}

// Returns the outcome (Stored) and the counts.
py::object shared_store(py::array bytes, Index size, Tags written, Tags read, py::array epoch, std::optional<Tags> pending,
                        Index granule, Index instruction, py::array address, OptionalArray active, Index threads,
                        py::array values) {
  const Shared shared = as_shared(bytes, size, written, read, epoch, pending, granule, instruction);
  const Accesses accesses = as_accesses(address, active, rows_of(address, active), threads);
  Stored stored = Stored::kNothing;
  with_word(values.itemsize(), [&](auto word) {
    stored = store_shared<decltype(word)>(accesses, shared, as_register<decltype(word)>(values));
  });
  if (stored == Stored::kNothing) return py::none();
  const Index repeat = shared.blocks / accesses.rows;
  return py::make_tuple(stored == Stored::kSomeLost, as_counts(count_banks(accesses, values.itemsize()), repeat));
}

// Starts an asynchronous copy of `width` bytes per thread: records the writers and writes nothing.
py::object shared_copy(py::array bytes, Index size, Tags written, Tags read, py::array epoch, std::optional<Tags> pending,
                       Index granule, Index instruction, py::array address, OptionalArray active, Index threads, Index width) {
  const Shared shared = as_shared(bytes, size, written, read, epoch, pending, granule, instruction);
  const Accesses accesses = as_accesses(address, active, rows_of(address, active), threads);
  bool done = false;
  with_word(width, [&](auto word) { done = may_write<decltype(word)>(accesses, shared, nullptr); });
  if (!done) return py::none();
  note_write(accesses, shared, width);
  return as_counts(count_banks(accesses, width), shared.blocks / accesses.rows);
}

py::object shared_matrices(py::array bytes, Index size, Tags written, Tags read, py::array epoch, std::optional<Tags> pending,
                           Index granule, Index instruction, py::array address, OptionalArray active, Index threads,
                           Index matrices, bool transposed) {
  const Shared shared = as_shared(bytes, size, written, read, epoch, pending, granule, instruction);
  Accesses accesses = as_accesses(address, active, rows_of(address, active), threads);
  py::array_t<std::uint32_t> out({matrices, shared.blocks, threads});
  std::memset(out.mutable_data(), 0, out.nbytes());
  if (!load_matrices(accesses, shared, matrices, transposed, out.mutable_data())) return py::none();
  accesses.first = 8 * matrices;
  return py::make_tuple(out, as_counts(count_banks(accesses, 16), shared.blocks / accesses.rows));
}

Index columns_of(const py::array& address, const OptionalArray& active) {
  return std::max<Index>(address.shape(1), active ? active->shape(1) : 1);
}

Index global_find(py::array address, OptionalArray active, Index size, Tags bases, Tags ends) {
  const Accesses accesses = as_accesses(address, active, rows_of(address, active), columns_of(address, active));
  return allocation_of(accesses, size, bases.data(), ends.data(), bases.size());
}

py::object global_load(py::array address, OptionalArray active, py::dtype type) {
  const Index rows = rows_of(address, active), columns = columns_of(address, active);
  py::array out = zeros(type, rows, columns);
  const bool done = with_word(type.itemsize(), [&](auto word) {
    load_global<decltype(word)>(as_accesses(address, active, rows, columns), static_cast<char*>(out.mutable_data()));
  });
  return done ? py::object(out) : py::none();
}

py::tuple global_count(py::array address, OptionalArray active, Index threads, Index first, py::array touched) {
  const Accesses accesses = as_accesses(address, active, rows_of(address, active), threads);
  const GlobalCounts counts =
      count_sectors(accesses, first, static_cast<char*>(touched.mutable_data()), touched.ndim() == 2 ? touched.strides(0) : 0);
  return py::make_tuple(counts.accesses, counts.requests, counts.sectors);
}

py::list mma(const std::string& kind, std::vector<py::array> a, std::vector<py::array> b, std::vector<py::array> c, Index rows,
             Index threads) {
  Words left, right;
  std::vector<Register<float>> sums;
  std::vector<float*> outs;
  py::list out;
  for (const auto& array : a) left.push_back(as_register<std::uint32_t>(array));
  for (const auto& array : b) right.push_back(as_register<std::uint32_t>(array));
  for (const auto& array : c) {
    sums.push_back(as_register<float>(array));
    py::array_t<float> result({rows, threads});
    outs.push_back(result.mutable_data());
    out.append(result);
  }
  if (kind == "f16") multiply<Kind::kHalf>(left, right, sums, rows, threads, outs);
  else if (kind == "bf16") multiply<Kind::kBfloat>(left, right, sums, rows, threads, outs);
  else if (kind == "tf32") multiply<Kind::kTf32>(left, right, sums, rows, threads, outs);
  else throw std::invalid_argument("operands of " + kind);
  return out;
}

// A register's values in contiguous memory, with shared ones repeated.
template <class T>
class Dense {
 public:
  Dense(const py::array& array, Index rows, Index columns) {
    const Register<T> from = as_register<T>(array);
    const Index step = sizeof(T);
    if (array.shape(0) == rows && array.shape(1) == columns && (columns == 1 || from.column_step == step) &&
        (rows == 1 || from.row_step == columns * step)) {
      data_ = reinterpret_cast<const T*>(from.data);
      return;
    }
    own_.resize(static_cast<std::size_t>(rows * columns));
    for (Index row = 0; row < rows; ++row) {
      T* const to = own_.data() + row * columns;
      if (from.column_step == 0) std::fill_n(to, columns, from.at(row, 0));
      else for (Index column = 0; column < columns; ++column) to[column] = from.at(row, column);
    }
    data_ = own_.data();
  }
  const T* data() const { return data_; }

 private:
  std::vector<T> own_;
  const T* data_;
};

template <class To, class F, class... From>
void fill(To* out, Index count, F f, const From*... of) {
  for (Index i = 0; i < count; ++i) out[i] = f(of[i]...);
}

// Applies `f` to the registers, for every thread that any of them distinguishes.
template <class To, class From = To, class F, class... A>
py::array_t<To> for_each_thread(F f, const A&... of) {
  const Index rows = std::max({of.shape(0)...}), columns = std::max({of.shape(1)...});
  py::array_t<To> out({rows, columns});
  fill(out.mutable_data(), rows * columns, f, Dense<From>(of, rows, columns).data()...);
  return out;
}

py::array_t<Word> prmt(py::array a, py::array b, py::array selector) {
  return for_each_thread<Word>([](Word x, Word y, Word z) { return permute(x, y, z); }, a, b, selector);
}

py::array_t<float> fma_single(py::array a, py::array b, py::array c, bool flushed) {
  const auto apply = [&](auto f) { return for_each_thread<float>(f, a, b, c); };
  if (flushed) return apply([](float x, float y, float z) { return flushed_multiply_add(x, y, z); });
  return apply([](float x, float y, float z) { return multiply_add(x, y, z); });
}

py::array_t<float> extremum_single(py::array a, py::array b, bool maximum, bool propagate) {
  const auto apply = [&](auto f) { return for_each_thread<float>(f, a, b); };
  if (maximum && propagate) return apply([](float x, float y) { return extremum<true, true>(x, y); });
  if (maximum) return apply([](float x, float y) { return extremum<true, false>(x, y); });
  if (propagate) return apply([](float x, float y) { return extremum<false, true>(x, y); });
  return apply([](float x, float y) { return extremum<false, false>(x, y); });
}

py::array_t<Word> pair_single(py::array high, py::array low, bool half) {
  const auto apply = [&](auto f) { return for_each_thread<Word, float>(f, high, low); };
  return half ? apply([](float x, float y) { return pair<half_of>(x, y); }) : apply([](float x, float y) { return pair<bfloat_of>(x, y); });
}

py::array_t<Word> dp4a(py::array a, py::array b, py::array c, bool a_signed, bool b_signed) {
  using S = std::int8_t;
  using U = std::uint8_t;
  const auto apply = [&](auto f) { return for_each_thread<Word>(f, a, b, c); };
  if (a_signed && b_signed) return apply([](Word x, Word y, Word z) { return dot<S, S>(x, y, z); });
  if (a_signed) return apply([](Word x, Word y, Word z) { return dot<S, U>(x, y, z); });
  if (b_signed) return apply([](Word x, Word y, Word z) { return dot<U, S>(x, y, z); });
  return apply([](Word x, Word y, Word z) { return dot<U, U>(x, y, z); });
}

py::object shfl(const std::string& mode, py::array x, py::array by, py::array clamp, OptionalArray active, Index threads) {
  const Shuffle way = mode == "up" ? Shuffle::kUp : mode == "down" ? Shuffle::kDown
                    : mode == "bfly" ? Shuffle::kButterfly : Shuffle::kIndex;
  const Index rows = std::max({x.shape(0), by.shape(0), clamp.shape(0), active ? active->shape(0) : py::ssize_t{1}});
  py::array_t<Word> out({rows, threads});
  py::array_t<bool> valid({rows, threads});
  if (!shuffle(way, as_register<Word>(x), as_register<Word>(by), as_register<Word>(clamp), as_active(active), rows, threads,
               out.mutable_data(), valid.mutable_data())) {
    return py::none();
  }
  return py::make_tuple(out, valid);
}

}  // namespace

PYBIND11_MODULE(_native, m) {
  m.def("shared_load", &shared_load);
  m.def("shared_store", &shared_store);
  m.def("shared_copy", &shared_copy);
  m.def("shared_matrices", &shared_matrices);
  m.def("global_find", &global_find);
  m.def("global_load", &global_load);
  m.def("global_count", &global_count);
  m.def("mma", &mma);
  m.def("prmt", &prmt);
  m.def("fma", &fma_single);
  m.def("extremum", &extremum_single);
  m.def("pair", &pair_single);
  m.def("dp4a", &dp4a);
  m.def("shfl", &shfl);
}
