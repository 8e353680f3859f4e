// Probabilities of logits, and sums, to the same bits on every machine.
//
// The C library's exponential differs in its last bit from one version and processor to another, and so does numpy's. This one is
// Tang's ("Table-driven implementation of the exponential function in IEEE floating-point arithmetic", ACM TOMS 15, 1989), each step
// rounded as written here.
#pragma once

#include <cstdint>

namespace dcnn {

// e to the power of x: within 0.54 units of the last place; rounding must be to nearest. NaN for NaN, infinity and 0 beyond the range
// of numbers.
double exponential(double x);

// The sum of values that lie `stride` apart, in the order that numpy adds in: eight sums side by side of up to 128 values, more in
// halves.
double pairwise_sum(const double* values, int64_t count, int64_t stride);

// The probabilities of each row of logits, both [rows, labels]. A row's bits depend on the row alone. NaN where a logit is NaN or the
// largest one is infinite.
void softmax(const float* logits, int64_t rows, int64_t labels, double* probabilities);

}  // namespace dcnn
