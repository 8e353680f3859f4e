// Hashes a strip while it is resampled across and the next one is turned. A processor looks only some hundred instructions
// ahead, so one loop places pieces of the other work between every sixteen rounds of the hash: between whole blocks they would
// wait behind it.
//
// The hash is FIPS 180-4's SHA-256 (sha256rnds2: two rounds; sha256msg1, sha256msg2: the schedule). Compiled with its flags and
// AVX2's, so nothing here may be an inline function shared with other files.
#include "summary_x86.h"

#include <immintrin.h>

#include "pixel_steps_avx2.h"

namespace dcnn {
namespace {

__m128i words_at(const uint8_t* bytes) {  // big-endian
  const __m128i order = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  return _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)), order);
}

// The next four words of the schedule from the previous sixteen.
__m128i scheduled(__m128i first, __m128i second, __m128i third, __m128i fourth) {
  const __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(first, second), _mm_alignr_epi8(fourth, third, 4));
  return _mm_sha256msg2_epu32(sum, fourth);
}

// The instructions keep the words a, b, e, f in one register and c, d, g, h in the other.
struct State {
  __m128i abef, cdgh;
};

void four_rounds(State& state, __m128i words, int round) {
  const __m128i sum = _mm_add_epi32(words, _mm_load_si128(reinterpret_cast<const __m128i*>(kHashRounds + round)));
  state.cdgh = _mm_sha256rnds2_epu32(state.cdgh, state.abef, sum);
  state.abef = _mm_sha256rnds2_epu32(state.abef, state.cdgh, _mm_shuffle_epi32(sum, 0x0e));
}

State loaded(const uint32_t* words) {
  const __m128i dcba = _mm_loadu_si128(reinterpret_cast<const __m128i*>(words));
  const __m128i hgfe = _mm_loadu_si128(reinterpret_cast<const __m128i*>(words + 4));
  const __m128i cdab = _mm_shuffle_epi32(dcba, 0xb1), efgh = _mm_shuffle_epi32(hgfe, 0x1b);
  return {_mm_alignr_epi8(cdab, efgh, 8), _mm_blend_epi16(efgh, cdab, 0xf0)};
}

void store(const State& state, uint32_t* words) {
  const __m128i feba = _mm_shuffle_epi32(state.abef, 0x1b), dchg = _mm_shuffle_epi32(state.cdgh, 0xb1);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(words), _mm_blend_epi16(feba, dchg, 0xf0));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(words + 4), _mm_alignr_epi8(dchg, feba, 8));
}

// Folds in the blocks; calls `meanwhile` after every sixteen rounds, kRests times a block.
constexpr int64_t kRests = 4;

template <typename Meanwhile>
void take_blocks(const HashBlocks& blocks, Meanwhile& meanwhile) {
  State state = loaded(blocks.state);
  const uint8_t* bytes = blocks.bytes;
  for (int64_t block = 0; block < blocks.count; ++block, bytes += kHashBlock) {
    const State before = state;
    __m128i w[4] = {words_at(bytes), words_at(bytes + 16), words_at(bytes + 32), words_at(bytes + 48)};
    for (int round = 0; round < 16; round += 4) four_rounds(state, w[round / 4], round);
    meanwhile();
    for (int round = 16; round < 64; round += 16) {
      for (int part = 0; part < 4; ++part) {
        w[part] = scheduled(w[part], w[(part + 1) % 4], w[(part + 2) % 4], w[(part + 3) % 4]);
        four_rounds(state, w[part], round + 4 * part);
      }
      meanwhile();
    }
    state = {_mm_add_epi32(state.abef, before.abef), _mm_add_epi32(state.cdgh, before.cdgh)};
  }
  store(state, blocks.state);
}

struct Nothing {
  void operator()() {}
};

// One kind of work in pieces, paced so that it ends with the hash.
template <typename Work>
class Paced {
 public:
  Paced(const Work& work, int64_t rests) : work_(work), share_(rests > 0 ? (work.left() << kFraction) / rests + 1 : 0) {}

  void operator()() {
    for (due_ += share_; due_ >> kFraction; due_ -= int64_t{1} << kFraction) {
      if (work_.left() > 0) work_.piece();
    }
  }

  void finish() {
    while (work_.left() > 0) work_.piece();
  }

 private:
  static constexpr int kFraction = 16;

  Work work_;
  int64_t share_, due_ = 0;  // pieces, with kFraction fractional bits
};

// A pass across, one output per piece.
class Across {
 public:
  explicit Across(const AcrossWork& work)
      : line_(work.from.bytes), out_(work.to.bytes), filter_(work.filter), outputs_(outputs_within(work.filter, work.from.cols)),
        from_pitch_(work.from.pitch), to_pitch_(work.to.pitch), left_(work.from.rows * outputs_) {
    if (outputs_ < work.filter.count) {
      const PassFilter rest{work.filter.entries + outputs_, work.filter.count - outputs_, work.filter.weights, work.filter.halves};
      kPlainPasses.across(work.from, rest, {work.to.bytes + 3 * outputs_, work.to.rows, rest.count, work.to.pitch});
    }
  }

  int64_t left() const { return left_; }

  void piece() {
    put_pixel(out_ + 3 * output_, resampled_pixel(line_, filter_.entries[output_], filter_.halves));
    --left_;
    if (++output_ < outputs_) return;
    output_ = 0;
    line_ += from_pitch_;
    out_ += to_pitch_;
  }

 private:
  const uint8_t* line_;
  uint8_t* out_;
  PassFilter filter_;
  int64_t outputs_, from_pitch_, to_pitch_, left_, output_ = 0;
};

// The turning of squares of four by four pixels, in source order.
class Turning {
 public:
  explicit Turning(const PixelRuns& runs) : runs_(runs), wide_(runs_in_squares(runs)), long_(runs.length / kSide * kSide) {
    left_ = wide_ / kSide * (long_ / kSide);
    copy_beside_squares(runs, wide_, long_);
  }

  int64_t left() const { return left_; }

  void piece() {
    fetch_ahead();
    turn_square(runs_.pixel + run_ * 3 + at_ * runs_.pixel_to_pixel, runs_.pixel_to_pixel, runs_.out + run_ * runs_.out_to_run + at_ * 3,
                runs_.out_to_run);
    --left_;
    if ((run_ += kSide) < wide_) return;
    run_ = 0;
    at_ += kSide;
  }

 private:
  // Prefetches source lines: successive ones are too far apart for a hardware prefetcher. Each of four adjacent squares
  // prefetches a line of one of the four rows.
  void fetch_ahead() const {
    const int64_t square = run_ / kSide, row = at_ + kAhead + square % kSide;
    if (row < runs_.length) _mm_prefetch(runs_.pixel + row * runs_.pixel_to_pixel + square / kSide * kLine, _MM_HINT_T0);
  }

  static constexpr int64_t kAhead = 16;  // rows
  static constexpr int64_t kLine = 64;   // bytes

  PixelRuns runs_;
  int64_t wide_, long_, left_, run_ = 0, at_ = 0;
};

bool is_backwards(const PixelRuns& runs) { return runs.pixel_to_pixel == -3; }

// Runs whose pixels are read one before the other, five pixels at a time. A load takes a byte before them, of the run's next pixel.
class Mirroring {
 public:
  explicit Mirroring(const PixelRuns& runs) : runs_(runs), parts_((runs.length - 1) / kPart), left_(runs.count * parts_) {
    PixelRuns rest = runs;
    rest.pixel += parts_ * kPart * rest.pixel_to_pixel;
    rest.out += parts_ * kPart * 3;
    rest.length -= parts_ * kPart;
    kPlainCopyRuns.copy(rest);
  }

  int64_t left() const { return left_; }

  void piece() {
    const __m128i order = _mm_setr_epi8(13, 14, 15, 10, 11, 12, 7, 8, 9, 4, 5, 6, 1, 2, 3, -1);
    const uint8_t* last = runs_.pixel - 3 * (part_ * kPart + kPart - 1);
    const __m128i found = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(last - 1)), order);
    uint8_t* out = runs_.out + 3 * part_ * kPart;
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out), found);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out + 7), _mm_srli_si128(found, 7));
    --left_;
    if (++part_ < parts_) return;
    part_ = 0;
    runs_.pixel += runs_.pixel_to_run;
    runs_.out += runs_.out_to_run;
  }

 private:
  static constexpr int64_t kPart = 5;  // pixels

  PixelRuns runs_;
  int64_t parts_, left_, part_ = 0;
};

template <typename Turned>
struct Both {
  Paced<Across> across;
  Paced<Turned> turning;

  void operator()() {
    across();
    turning();
  }
};

template <typename Turned>
void take_strip(const StripWork& work) {
  const int64_t rests = kRests * work.blocks.count;
  Both<Turned> both{{Across(work.across), rests}, {Turned(work.turning), rests}};
  if (work.blocks.count > 0) take_blocks(work.blocks, both);
  both.across.finish();
  both.turning.finish();
}

}  // namespace

void take_hash_blocks_x86(const HashBlocks& blocks) {
  Nothing nothing;
  take_blocks(blocks, nothing);
}

void take_strip_x86(const StripWork& work) {
  is_backwards(work.turning) ? take_strip<Mirroring>(work) : take_strip<Turning>(work);
}

}  // namespace dcnn
