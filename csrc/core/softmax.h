// Softmax and sums with the same bits on every machine.
//
// The last bit of the C library's exponential, and of numpy's, depends on version and processor. This one is Tang's
// ("Table-driven implementation of the exponential function in IEEE floating-point arithmetic", ACM TOMS 15, 1989), each step
// rounded as written here.
#pragma once

#include <cstdint>

namespace dcnn {

// e to the power of x, within 0.54 units in the last place; requires rounding to nearest. NaN for NaN, infinity on overflow, 0
// on underflow.
double exponential(double x);

// The sum of values `stride` apart, in numpy's order: eight interleaved sums for up to 128 values, recursive halves for more.
double pairwise_sum(const double* values, int64_t count, int64_t stride);

// The probabilities of each row of logits, both [rows, labels]. A row's bits depend on that row alone. NaN where a logit is NaN
// or the largest one is infinite.
void softmax(const float* logits, int64_t rows, int64_t labels, double* probabilities);

}  // namespace dcnn
