// Reads of global memory that break no rule; `memory.py` has the rules and names the broken one for other reads.
#pragma once

#include <algorithm>

#include "lanes.hpp"

namespace ptxsim {

// The single allocation that holds all accesses; -1 where there is none. bases: ascending.
inline Index allocation_of(const Accesses& accesses, Index size, const std::int64_t* bases, const std::int64_t* ends,
                           Index count) {
  std::int64_t low = INT64_MAX, high = INT64_MIN, bits = 0;
  for (Index row = 0; row < accesses.rows; ++row) {
    for (Index thread = 0; thread < accesses.threads; ++thread) {
      if (!accesses.at(row, thread)) continue;
      const std::int64_t address = accesses.address.at(row, thread);
      low = std::min(low, address), high = std::max(high, address), bits |= address;
    }
  }
  if (low > high || (bits & (size - 1)) != 0) return -1;
  const Index found = std::upper_bound(bases, bases + count, low) - bases - 1;
  return found >= 0 && high + size <= ends[found] ? found : -1;
}

template <class Word>
void load_global(const Accesses& accesses, char* out) {
  for (Index row = 0; row < accesses.rows; ++row) {
    for (Index thread = 0; thread < accesses.threads; ++thread, out += sizeof(Word)) {
      if (!accesses.at(row, thread)) continue;
      std::memcpy(out, reinterpret_cast<const char*>(accesses.address.at(row, thread)), sizeof(Word));
    }
  }
}

struct GlobalCounts {
  Index accesses = 0, requests = 0, sectors = 0;
};

// Counts distinct 32-byte sectors for each warp. touched: flags of sectors from `first` on, rows `touched_step` apart.
inline GlobalCounts count_sectors(const Accesses& accesses, std::int64_t first, char* touched, Index touched_step) {
  GlobalCounts counts;
  for (Index row = 0; row < accesses.rows; ++row) {
    for (Index warp = 0; warp < accesses.threads; warp += kWarp) {
      std::int64_t sectors[kWarp];
      Index length = 0;
      bool ascending = true;
      for (Index thread = warp; thread < warp + kWarp; ++thread) {
        if (!accesses.at(row, thread)) continue;
        ++counts.accesses;
        const std::int64_t sector = accesses.address.at(row, thread) >> 5;
        if (length > 0 && sector == sectors[length - 1]) continue;
        ascending = ascending && (length == 0 || sector > sectors[length - 1]);
        sectors[length++] = sector;
        touched[row * touched_step + sector - first] = 1;
      }
      if (!ascending) {
        std::sort(sectors, sectors + length);
        length = std::unique(sectors, sectors + length) - sectors;
      }
      counts.requests += length > 0;
      counts.sectors += length;
    }
  }
  return counts;
}

}  // namespace ptxsim
