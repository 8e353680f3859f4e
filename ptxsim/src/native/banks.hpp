// Wavefronts of shared memory: the same as `banks.wavefronts` of the Python package, which uses numpy.
#pragma once

#include <algorithm>

#include "lanes.hpp"

namespace ptxsim {

struct SharedCounts {
  Index requests = 0, accesses = 0, wavefronts = 0, ideal = 0;
};

// 32 banks of 4 bytes; an access of 8 bytes takes two halves of a warp, one of 16 bytes four quarters; equal words are shared.
inline SharedCounts count_banks(const Accesses& accesses, Index size) {
  SharedCounts counts;
  const int bits = exponent(std::max<Index>(size, 4));
  const Index lanes = 128 >> bits;
  for (Index row = 0; row < accesses.rows; ++row) {
    for (Index warp = 0; warp < accesses.threads; warp += kWarp) {
      bool any = false;
      for (Index part = warp; part < warp + kWarp; part += lanes) {
        Index units[kWarp][kWarp];  // by bank, its distinct words
        Index length[kWarp] = {};
        Index most = 0;
        for (Index thread = part; thread < part + lanes; ++thread) {
          if (!accesses.at(row, thread)) continue;
          ++counts.accesses;
          const Index unit = accesses.address.at(row, thread) >> bits, bank = unit & (lanes - 1);
          Index* const asked = units[bank];
          if (std::find(asked, asked + length[bank], unit) != asked + length[bank]) continue;
          asked[length[bank]++] = unit;
          most = std::max(most, length[bank]);
        }
        counts.wavefronts += most;
        counts.ideal += most > 0;
        any = any || most > 0;
      }
      counts.requests += any;
    }
  }
  return counts;
}

}  // namespace ptxsim
