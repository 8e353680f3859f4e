// Accesses to shared memory that break no rule. `shared.py` has the rules, in numpy: where a rule is broken, nothing changes
// here, and `shared.py` repeats the access and names the rule.
#pragma once

#include "banks.hpp"

namespace ptxsim {

constexpr int kInstructionBits = 20, kWarpBits = 6;
constexpr std::int64_t kSeveral = ((std::int64_t{1} << kWarpBits) - 1) << kInstructionBits;

// Shared memory of a batch. tag_rows: 1 while all thread blocks do the same, otherwise one for each block.
struct Shared {
  char* bytes;
  Index blocks, stride, size;  // stride: bytes from thread block to thread block; size: accessible bytes
  std::int64_t *written, *read;
  Index tag_rows;
  int granule_bits;  // a tag covers 1 << granule_bits bytes
  Register<std::int64_t> epoch;
  const std::int64_t* pending;  // null where no asynchronous copy is under way
  Index instruction;

  std::int64_t tag(Index row, Index thread) const {
    return (((epoch.at(row, 0) << kWarpBits) + thread / kWarp) << kInstructionBits) + instruction;
  }
  Index cell(Index row, std::int64_t offset) const { return row * (stride >> granule_bits) + (offset >> granule_bits); }
  Index cells(Index size_of_access) const { return std::max<Index>(size_of_access >> granule_bits, 1); }
  char* at(Index block, std::int64_t offset) const { return bytes + block * stride + offset; }

  bool is_pending(Index row, std::int64_t offset, Index size_of_access) const {
    if (pending == nullptr) return false;
    const std::int64_t* word = pending + row * (stride / 4) + offset / 4;
    return std::any_of(word, word + std::max<Index>(size_of_access / 4, 1), [](std::int64_t copy) { return copy != 0; });
  }
};

// Whether `old` was left by another warp in the same epoch.
inline bool meets(std::int64_t old, std::int64_t tag) {
  const std::int64_t different = (old ^ tag) >> kInstructionBits;
  return different != 0 && different < (std::int64_t{1} << kWarpBits);
}

inline bool inside(const Shared& shared, std::int64_t offset, Index size) {
  return offset >= 0 && offset + size <= shared.size && (offset & (size - 1)) == 0;
}

// Calls `f(row of tags, thread, offset)` for each access until one returns false.
template <class F>
bool for_each(const Accesses& accesses, Index rows, F f) {
  for (Index row = 0; row < rows; ++row) {
    for (Index thread = 0; thread < accesses.threads; ++thread) {
      if (accesses.at(row, thread) && !f(row, thread, accesses.address.at(row, thread))) return false;
    }
  }
  return true;
}

inline bool may_read(const Accesses& accesses, const Shared& shared, Index size) {
  return for_each(accesses, shared.tag_rows, [&](Index row, Index thread, std::int64_t offset) {
    if (!inside(shared, offset, size) || shared.is_pending(row, offset, size)) return false;
    const std::int64_t tag = shared.tag(row, thread);
    const std::int64_t* last = shared.written + shared.cell(row, offset);
    return std::all_of(last, last + shared.cells(size), [&](std::int64_t of) { return of != 0 && !meets(of, tag); });
  });
}

// Records the readers: a warp, or that several warps have read.
inline void note_read(const Accesses& accesses, const Shared& shared, Index size) {
  for_each(accesses, shared.tag_rows, [&](Index row, Index thread, std::int64_t offset) {
    const std::int64_t tag = shared.tag(row, thread);
    std::int64_t* last = shared.read + shared.cell(row, offset);
    for (Index i = 0; i < shared.cells(size); ++i) last[i] = meets(last[i], tag) ? tag | kSeveral : tag;
    return true;
  });
}

// Reads a word for every active thread into `out`, (blocks, threads). Returns false where a rule would be broken.
template <class Word>
bool load_shared(const Accesses& accesses, const Shared& shared, char* out) {
  if (!may_read(accesses, shared, sizeof(Word))) return false;
  note_read(accesses, shared, sizeof(Word));
  for_each(accesses, shared.blocks, [&](Index block, Index thread, std::int64_t offset) {
    std::memcpy(out + (block * accesses.threads + thread) * Index{sizeof(Word)}, shared.at(block, offset), sizeof(Word));
    return true;
  });
  return true;
}

// `values` null: an asynchronous copy starts, which conflicts whatever its value and may meet copies under way.
template <class Word>
bool may_write(const Accesses& accesses, const Shared& shared, const Register<Word>* values) {
  constexpr Index size = sizeof(Word);
  const auto is_there = [&](Index block, Index thread, std::int64_t offset) {
    const Word value = values->at(block, thread);
    return std::memcmp(&value, shared.at(block, offset), sizeof(Word)) == 0;
  };
  return for_each(accesses, shared.tag_rows, [&](Index row, Index thread, std::int64_t offset) {
    if (!inside(shared, offset, size) || (values != nullptr && shared.is_pending(row, offset, size))) return false;
    const std::int64_t tag = shared.tag(row, thread);
    const Index cell = shared.cell(row, offset);
    for (Index i = cell; i < cell + shared.cells(size); ++i) {
      if (meets(shared.read[i], tag)) return false;
      if (!meets(shared.written[i], tag)) continue;
      if (values == nullptr) return false;
      // Compilers store the same value twice on purpose.
      const Index last = shared.tag_rows == 1 ? shared.blocks : row + 1;
      for (Index block = row; block < last; ++block) {
        if (!is_there(block, thread, offset)) return false;
      }
    }
    return true;
  });
}

inline void note_write(const Accesses& accesses, const Shared& shared, Index size) {
  for_each(accesses, shared.tag_rows, [&](Index row, Index thread, std::int64_t offset) {
    std::fill_n(shared.written + shared.cell(row, offset), shared.cells(size), shared.tag(row, thread));
    return true;
  });
}

enum class Stored { kNothing, kAll, kSomeLost };  // kSomeLost: two threads wrote different values to one place

template <class Word>
Stored store_shared(const Accesses& accesses, const Shared& shared, const Register<Word>& values) {
  if (!may_write(accesses, shared, &values)) return Stored::kNothing;
  note_write(accesses, shared, sizeof(Word));
  for_each(accesses, shared.blocks, [&](Index block, Index thread, std::int64_t offset) {
    const Word word = values.at(block, thread);
    std::memcpy(shared.at(block, offset), &word, sizeof(Word));
    return true;
  });
  const bool kept = for_each(accesses, shared.blocks, [&](Index block, Index thread, std::int64_t offset) {
    const Word word = values.at(block, thread);
    return std::memcmp(shared.at(block, offset), &word, sizeof(Word)) == 0;
  });
  return kept ? Stored::kAll : Stored::kSomeLost;
}

}  // namespace ptxsim
