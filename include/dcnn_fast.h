/* dcnn_fast in C: rates photographs with a model file, by the average over seeded random views of each, as the Python package does, to
 * the same bits on the same instruction set. Needs no Python and no other library than C++'s.
 *
 * Every call that can fail returns a status and, where `error` is not null, says in it what went wrong. No exception leaves the library.
 * Every struct begins with its size as the caller was compiled with it, which its `_init` sets, so that later versions can add fields at
 * the end. Whatever is added to dcnn_image or dcnn_options, its 0 means what was done before it was there: a caller who does not have it
 * gets that, and a library that does not know it refuses every other value with DCNN_ARGUMENT. `_init_sized` functions are for languages
 * that do not read this header: size is that of the caller's struct, of which nothing behind is written to, and what the library does not
 * know of it is set to 0. docs/c-library.md has examples in C, C++, Rust and JavaScript.
 *
 * A model may be used by any number of threads at a time, and on both sides of a fork. The environment variable DCNN_FAST_CPU_ISA
 * chooses the instruction set of models that are opened after it is set; by default it is the processor's best. */
#ifndef DCNN_FAST_H
#define DCNN_FAST_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define DCNN_API __attribute__((visibility("default")))
#else
#define DCNN_API
#endif

typedef enum dcnn_status {
  DCNN_OK = 0,
  DCNN_ARGUMENT = 1,    /* an argument, or DCNN_FAST_CPU_ISA, is not what it must be */
  DCNN_FILE = 2,        /* the model file cannot be opened or read */
  DCNN_MODEL = 3,       /* the model file is none of this project, or is damaged */
  DCNN_UNSUPPORTED = 4, /* the model is right, and this library does not run it */
  DCNN_IMAGE = 5,       /* the picture cannot be scored: it is too narrow, say */
  DCNN_NOT_FINITE = 6,  /* the model gives numbers that are not finite for this picture */
  DCNN_MEMORY = 7,      /* there is not enough memory */
  DCNN_INTERNAL = 8     /* a fault of the library */
} dcnn_status;

typedef struct dcnn_error {
  size_t struct_size; /* sizeof(dcnn_error), which dcnn_error_init sets */
  int32_t status;     /* dcnn_status, also what the call returned */
  char message[508];  /* one sentence in UTF-8, ended by a zero */
} dcnn_error;

DCNN_API void dcnn_error_init_sized(dcnn_error* error, size_t size);
#define dcnn_error_init(error) dcnn_error_init_sized((error), sizeof(dcnn_error))

/* A loaded model. */
typedef struct dcnn_model dcnn_model;

/* Loads a model file that `dcnn-fast` or nets.save_model wrote. path: in the encoding of the file system. *model is set to null where the
 * call fails. The file may be changed or deleted afterwards. */
DCNN_API dcnn_status dcnn_model_open(const char* path, dcnn_model** model, dcnn_error* error);

/* The same from a model file's bytes, which are not needed afterwards. */
DCNN_API dcnn_status dcnn_model_read(const void* bytes, size_t size, dcnn_model** model, dcnn_error* error);

/* Gives the model back, which no thread may be using. Null is no model. */
DCNN_API void dcnn_model_close(dcnn_model* model);

/* How many labels the model tells apart, at least two; 0 for null. */
DCNN_API size_t dcnn_model_labels(const dcnn_model* model);

/* A label's name in UTF-8, which lives as long as the model; null for a number that is none. */
DCNN_API const char* dcnn_model_label(const dcnn_model* model, size_t label);

/* What must be said of the model's scores wherever they are shown first; empty where nothing is known. Lives as long as the model. */
DCNN_API const char* dcnn_model_caution(const dcnn_model* model);

/* The name of the instruction set that the model is computed with. Lives as long as the process. */
DCNN_API const char* dcnn_model_isa(const dcnn_model* model);

/* A picture: upright, sRGB, three bytes a pixel (red, green, blue). row_bytes: from one row's first byte to the next's, at least
 * 3 * width. */
typedef struct dcnn_image {
  size_t struct_size;
  const uint8_t* pixels;
  int64_t width, height, row_bytes;
} dcnn_image;

/* Sets the struct's size, these fields and row_bytes = 3 * width. */
DCNN_API void dcnn_image_init_sized(dcnn_image* image, size_t size, const uint8_t* pixels, int64_t width, int64_t height);
#define dcnn_image_init(image, pixels, width, height) dcnn_image_init_sized((image), sizeof(dcnn_image), (pixels), (width), (height))

/* How a picture is scored; the same as the options of Python's Scorer. */
typedef struct dcnn_options {
  size_t struct_size;
  int64_t views;     /* samples that are averaged, 1 to 1000000; 50 */
  int64_t grid;      /* every window's offset is a multiple of it, 1, 2, 4 or 8; 1 */
  int64_t seed;      /* of the windows' draws, at least 0; 0 */
  int64_t long_side; /* pixels, 1 to 65536, that larger pictures are reduced to; 0, which is the model's own */
  int32_t threads;   /* that one call may use, 1 to 1024; 0, which is as many as the machine has. It changes no result */
  int32_t reserved;  /* 0 */
} dcnn_options;

DCNN_API void dcnn_options_init_sized(dcnn_options* options, size_t size);
#define dcnn_options_init(options) dcnn_options_init_sized((options), sizeof(dcnn_options))

/* What a picture was found to be. Set the first three groups before the call, the rest is its answer: where the call fails it is what
 * dcnn_result_init sets (NaN, no views, label -1), and nothing is written to the rooms. */
typedef struct dcnn_result {
  size_t struct_size;

  double* probabilities;      /* room for a mean probability of each label, or null */
  size_t probabilities_count; /* doubles that there is room for: at least dcnn_model_labels */

  double* samples;      /* room for the samples' probabilities, [views][labels], or null */
  size_t samples_count; /* doubles that there is room for: at least views * labels */

  double mean;       /* of a model of two labels: the probability of "high" (of the second where none has that name); otherwise NaN */
  double std;        /* its standard deviation over the samples; NaN where mean is */
  double percentile; /* how many of a hundred photographs of the model's reference collection score lower; NaN for a model without one */
  int64_t views;     /* samples that were averaged */
  int64_t label;     /* the number of the most probable label; -1 for none */
  int64_t enlarged;  /* 1 where the picture was so small that it was enlarged for local views, which is to be said; otherwise 0 */
} dcnn_result;

DCNN_API void dcnn_result_init_sized(dcnn_result* result, size_t size);
#define dcnn_result_init(result) dcnn_result_init_sized((result), sizeof(dcnn_result))

/* Scores a picture. options: null for those that dcnn_options_init sets. The same picture has the same numbers whatever the threads. */
DCNN_API dcnn_status dcnn_score(const dcnn_model* model, const dcnn_image* image, const dcnn_options* options, dcnn_result* result,
                                dcnn_error* error);

/* "0.1.0": the project's version. */
DCNN_API const char* dcnn_version(void);

#ifdef __cplusplus
}
#endif

#endif
