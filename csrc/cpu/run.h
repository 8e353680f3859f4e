// Choosing an instruction set, and spreading work over threads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gradient.h"
#include "kernel.h"
#include "update.h"

namespace dcnn {

// The instruction sets compiled in, best first.
std::vector<const Isa*> compiled_isas();

// Those of them that run here.
std::vector<const Isa*> available_isas();

// Those that run here in software: for tests, never chosen by themselves.
std::vector<const Isa*> emulated_isas();

// The one of that name, emulated ones included. Throws std::invalid_argument naming what there is.
const Isa& isa_named(const std::string& name);

// Every region, spread over `threads` threads.
void run_block(const Isa& isa, const BlockProblem& p, const RegionRow* regions, int64_t count, int threads);

// Gradients of whole images, spread over `threads` threads. Sums over images are formed in chunks that depend on the number of
// images alone, and the chunks are added in order: bits do not depend on the threads.
void run_gradients(const Isa& isa, const GradientProblem& q, int threads);

// The product, its outputs spread over `threads` threads.
void run_linear(const Isa& isa, const LinearProblem& p, int threads);

// To be called around a fork, in the parent before it and in both after it: a child has none of the threads that may be at work,
// and could wait for a lock of theirs for ever.
void before_fork();
void after_fork();

// All parameters, their values spread over `threads` threads.
void run_update(UpdateKind kind, const std::vector<UpdateRow>& rows, int threads);

}  // namespace dcnn
