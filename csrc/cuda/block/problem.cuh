// The problem that a kernel of the block is compiled for, each constant with a default.
#pragma once

#ifndef CHANNELS  // of the source
#define CHANNELS 64
#endif
#ifndef FILTERS  // of the block
#define FILTERS 64
#endif
#ifndef SIZE  // rows and columns of a filter
#define SIZE 5
#endif
#ifndef STRIDE
#define STRIDE 1
#endif
#ifndef POOL  // 1: none
#define POOL 3
#endif
#ifndef POOL_STRIDE
#define POOL_STRIDE 2
#endif
#ifndef AVERAGE  // whether the pool takes averages, else maxima
#define AVERAGE 0
#endif
#ifndef NORM_SIZE  // maps that the norm sums over; 0: no norm
#define NORM_SIZE 5
#endif
#ifndef NORM_FIRST  // whether the norm comes before the pool
#define NORM_FIRST 0
#endif
#ifndef RELU_LAST  // whether the ReLU comes behind pool and norm
#define RELU_LAST 0
#endif
#ifndef BF16  // 16-bit numbers are bf16, else fp16
#define BF16 0
#endif
#ifndef BYTES  // the source is of bytes, else of the 16-bit numbers
#define BYTES 0
#endif
