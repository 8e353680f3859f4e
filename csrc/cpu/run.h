// Choice of instruction set, and distribution of work over threads.
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

// The compiled instruction sets that run here, best first.
std::vector<const Isa*> available_isas();

// Instruction sets that run here in software: for tests, never selected automatically.
std::vector<const Isa*> emulated_isas();

// The instruction set of that name, emulated ones included. Throws std::invalid_argument naming the choices.
const Isa& isa_named(const std::string& name);

// Runs every region, on `threads` threads.
void run_block(const Isa& isa, const BlockProblem& p, const RegionRow* regions, int64_t count, int threads);

// Computes gradients of whole images, on `threads` threads. Sums over images are formed in chunks that depend only on the
// number of images and are added in order: bits do not depend on the threads.
void run_gradients(const Isa& isa, const GradientProblem& q, int threads);

// Computes the product, its outputs divided among `threads` threads.
void run_linear(const Isa& isa, const LinearProblem& p, int threads);

// Call around a fork, in the parent before it and in both processes after it: the child has none of the other threads, and
// would wait for ever for a lock that one of them held.
void before_fork();
void after_fork();

// Updates all parameters, their values divided among `threads` threads.
void run_update(UpdateKind kind, const std::vector<UpdateRow>& rows, int threads);

}  // namespace dcnn
