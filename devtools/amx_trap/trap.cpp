// AMX for processors without it: an AMX instruction is illegal there, and the signal's handler decodes it, executes it in
// software and resumes after it. So the compiled kernels of isa_amx.cpp run unchanged, including encodings and operands.

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>

#include "cpu_features.h"
#include "tile_emulated.h"

namespace dcnn {

const Features& detected_features();

// Replaces cpu_features.cpp's: the real processor's features, and AMX.
const Features& features() {
  static const Features found = [] {
    Features f = detected_features();
    f.amx_tile = f.amx_bf16 = true;
    return f;
  }();
  return found;
}

bool tiles_granted() { return true; }

namespace {

enum Kind { kConfigure, kRelease, kZero, kLoad, kStore, kDot, kKinds };

std::atomic<int64_t> counts[kKinds];

// An operand in memory; a tile's rows are `row_bytes` apart, which is the scaled index.
struct Memory {
  uint8_t* address;
  int64_t row_bytes;
  int length;  // of ModRM, SIB and displacement
};

Memory memory_of(const uint8_t* modrm, int64_t next, bool x, bool b, const greg_t* registers) {
  static const int kOrder[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                               REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  const int mod = *modrm >> 6, rm = *modrm & 7;
  Memory m{};
  m.length = 1;
  int64_t address = 0;
  int base = rm;
  if (rm == 4) {
    const int sib = modrm[m.length++], index = (sib >> 3 & 7) | x << 3;
    base = sib & 7;
    if (index != 4) m.row_bytes = static_cast<int64_t>(registers[kOrder[index]]) << (sib >> 6);
  }
  const bool no_base = base == 5 && mod == 0;
  int32_t displacement = 0;
  if (mod == 1) {
    displacement = static_cast<int8_t>(modrm[m.length++]);
  } else if (mod == 2 || no_base) {
    memcpy(&displacement, modrm + m.length, sizeof displacement);
    m.length += 4;
  }
  if (!no_base) address = registers[kOrder[base | b << 3]];
  if (no_base && rm == 5) address = next + m.length;  // relative to the next instruction
  m.address = reinterpret_cast<uint8_t*>(address + displacement);
  return m;
}

// Executes the AMX instruction at `at` and returns its length; 0 where there is none.
int execute(const uint8_t* at, const greg_t* registers) {
  constexpr int kPrefixes = 4;  // bytes of VEX and the opcode
  const bool vex = at[0] == 0xc4 && (at[1] & 31) == 2 && (at[2] & 0x84) == 0;  // map 0F38, W 0, 128 bits
  if (!vex) return 0;
  const bool r = !(at[1] >> 7 & 1), x = !(at[1] >> 6 & 1), b = !(at[1] >> 5 & 1);
  const int third = ~at[2] >> 3 & 15, prefix = at[2] & 3, opcode = at[3], modrm = at[4];
  const bool in_memory = modrm >> 6 != 3, nothing = third == 0;
  const int reg = (modrm >> 3 & 7) | r << 3, rm = (modrm & 7) | b << 3;
  enum { kNone = 0, kF3 = 2, kF2 = 3 };
  SoftwareTiles& tiles = software_tiles();
  const auto memory = [&] { return memory_of(at + kPrefixes, reinterpret_cast<int64_t>(at) + kPrefixes, x, b, registers); };
  if (opcode == 0x49 && prefix == kNone && nothing && in_memory && reg == 0) {
    const Memory m = memory();
    TileConfig config;
    memcpy(&config, m.address + m.row_bytes, sizeof config);
    tiles.configure(config);
    ++counts[kConfigure];
    return kPrefixes + m.length;
  }
  if (opcode == 0x49 && prefix == kNone && nothing && modrm == 0xc0) {
    tiles.release();
    ++counts[kRelease];
    return kPrefixes + 1;
  }
  if (opcode == 0x49 && prefix == kF2 && nothing && !in_memory && rm == 0) {
    tiles.zero(reg);
    ++counts[kZero];
    return kPrefixes + 1;
  }
  if (opcode == 0x4b && (prefix == kF2 || prefix == kF3) && nothing && in_memory && (modrm & 7) == 4) {
    const Memory m = memory();
    if (prefix == kF2) tiles.load(reg, m.address, m.row_bytes);
    if (prefix == kF3) tiles.store(reg, m.address, m.row_bytes);
    ++counts[prefix == kF2 ? kLoad : kStore];
    return kPrefixes + m.length;
  }
  if (opcode == 0x5c && prefix == kF3 && !in_memory) {
    tiles.dot(reg, rm, third);
    ++counts[kDot];
    return kPrefixes + 1;
  }
  return 0;
}

void on_illegal_instruction(int number, siginfo_t*, void* context) {
  greg_t* registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  int length = 0;
  try {
    length = execute(reinterpret_cast<const uint8_t*>(registers[REG_RIP]), registers);
  } catch (const std::exception& fault) {
    (void)!write(STDERR_FILENO, fault.what(), strlen(fault.what()));
    abort();
  }
  if (length == 0) signal(number, SIG_DFL);  // the signal is raised again and ends the process
  registers[REG_RIP] += length;
}

__attribute__((constructor)) void install() {
  struct sigaction action {};
  action.sa_sigaction = on_illegal_instruction;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGILL, &action, nullptr);
}

}  // namespace
}  // namespace dcnn

// Instructions executed so far: LDTILECFG, TILERELEASE, TILEZERO, TILELOADD, TILESTORED, TDPBF16PS.
extern "C" __attribute__((visibility("default"))) void amx_trap_counts(int64_t* to) {
  for (int kind = 0; kind < dcnn::kKinds; ++kind) to[kind] = dcnn::counts[kind];
}
