/* dcnn_fast in C: rates photographs with a model file by the mean over seeded random samples of each, with the same bits as the
 * Python package on the same instruction set. Needs neither Python nor any library but C++'s.
 *
 * Every call that can fail returns a status and, where `error` is not null, describes the fault there. No exception leaves the
 * library. Every struct begins with the size that the caller was compiled with, which its `_init` sets, so that later versions
 * can add fields at the end. In every field added to dcnn_image or dcnn_options, 0 selects the behaviour of earlier versions:
 * callers without the field get it, and a library that does not know the field refuses other values with DCNN_ARGUMENT. The
 * `_init_sized` functions are for languages that do not read this header: size is that of the caller's struct. Nothing beyond
 * it is written, and fields that the library does not know are set to 0. docs/c-library.md has examples in C, C++, Rust and
 * JavaScript.
 *
 * Any number of threads may use a model at once, as may both sides of a fork. The environment variable DCNN_FAST_CPU_ISA
 * selects the instruction set of models opened after it is set; the default is the processor's best. */
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
  DCNN_ARGUMENT = 1,    /* an argument or DCNN_FAST_CPU_ISA is invalid */
  DCNN_FILE = 2,        /* the model file cannot be opened or read */
  DCNN_MODEL = 3,       /* not a model file of this project, or damaged */
  DCNN_UNSUPPORTED = 4, /* a valid model that this library does not run */
  DCNN_IMAGE = 5,       /* the picture cannot be scored: too narrow, for example */
  DCNN_NOT_FINITE = 6,  /* the model's results for this picture are not finite */
  DCNN_MEMORY = 7,      /* there is not enough memory */
  DCNN_INTERNAL = 8     /* a fault of the library */
} dcnn_status;

typedef struct dcnn_error {
  size_t struct_size; /* sizeof(dcnn_error), which dcnn_error_init sets */
  int32_t status;     /* the dcnn_status that the call returned */
  char message[508];  /* one sentence in UTF-8, ended by a zero */
} dcnn_error;

DCNN_API void dcnn_error_init_sized(dcnn_error* error, size_t size);
#define dcnn_error_init(error) dcnn_error_init_sized((error), sizeof(dcnn_error))

/* A loaded model. */
typedef struct dcnn_model dcnn_model;

/* Loads a model file that `dcnn-fast` or nets.save_model wrote. path: in the file system's encoding. *model is null after a
 * failure. The file may be changed or deleted afterwards. */
DCNN_API dcnn_status dcnn_model_open(const char* path, dcnn_model** model, dcnn_error* error);

/* Loads a model from a file's bytes, which are not needed afterwards. */
DCNN_API dcnn_status dcnn_model_read(const void* bytes, size_t size, dcnn_model** model, dcnn_error* error);

/* Frees a model that no thread is using. Null does nothing. */
DCNN_API void dcnn_model_close(dcnn_model* model);

/* The model's number of labels, at least two; 0 for null. */
DCNN_API size_t dcnn_model_labels(const dcnn_model* model);

/* A label's name in UTF-8, valid as long as the model; null for an invalid number. */
DCNN_API const char* dcnn_model_label(const dcnn_model* model, size_t label);

/* A sentence that must accompany the model's scores wherever they are first shown, or empty. Valid as long as the model. */
DCNN_API const char* dcnn_model_caution(const dcnn_model* model);

/* The name of the instruction set that runs the model. Valid as long as the process. */
DCNN_API const char* dcnn_model_isa(const dcnn_model* model);

/* A picture: upright, sRGB, three bytes a pixel (red, green, blue). row_bytes: from the first byte of a row to that of the
 * next, at least 3 * width. */
typedef struct dcnn_image {
  size_t struct_size;
  const uint8_t* pixels;
  int64_t width, height, row_bytes;
} dcnn_image;

/* Sets the struct's size, these fields and row_bytes = 3 * width. */
DCNN_API void dcnn_image_init_sized(dcnn_image* image, size_t size, const uint8_t* pixels, int64_t width, int64_t height);
#define dcnn_image_init(image, pixels, width, height) dcnn_image_init_sized((image), sizeof(dcnn_image), (pixels), (width), (height))

/* How a picture is scored: the options of Python's Scorer. Each comment ends with the default. */
typedef struct dcnn_options {
  size_t struct_size;
  int64_t views;     /* samples to average, 1 to 1000000; 50 */
  int64_t grid;      /* windows' offsets are multiples of it, 1, 2, 4 or 8; 1 */
  int64_t seed;      /* seed of the windows' draws, at least 0; 0 */
  int64_t long_side; /* pixels to which larger pictures are reduced, 1 to 65536; 0, the model's own */
  int32_t threads;   /* most threads of one call, 1 to 1024, without effect on results; 0, as many as the machine has */
  int32_t reserved;  /* 0 */
} dcnn_options;

DCNN_API void dcnn_options_init_sized(dcnn_options* options, size_t size);
#define dcnn_options_init(options) dcnn_options_init_sized((options), sizeof(dcnn_options))

/* A picture's scores. Set the first three groups of fields before the call; it fills the others. After a failure these are as
 * dcnn_result_init sets them (NaN, no views, label -1), and nothing is written to the buffers. */
typedef struct dcnn_result {
  size_t struct_size;

  double* probabilities;      /* buffer for each label's mean probability, or null */
  size_t probabilities_count; /* its size in doubles, at least dcnn_model_labels */

  double* samples;      /* buffer for the samples' probabilities, [views][labels], or null */
  size_t samples_count; /* its size in doubles, at least views * labels */

  double mean;       /* mean probability of "high" (or of the second label without that name) with two labels; otherwise NaN */
  double std;        /* its standard deviation over the samples; NaN where mean is */
  double percentile; /* percentage of the model's reference collection that scores lower, equal scores half; NaN without one */
  int64_t views;     /* number of samples averaged */
  int64_t label;     /* the number of the most probable label; -1 for none */
  int64_t enlarged;  /* 1 where a small picture was enlarged for local views, which users should be told; otherwise 0 */
} dcnn_result;

DCNN_API void dcnn_result_init_sized(dcnn_result* result, size_t size);
#define dcnn_result_init(result) dcnn_result_init_sized((result), sizeof(dcnn_result))

/* Scores a picture. options: null for the defaults. The number of threads does not change the results. */
DCNN_API dcnn_status dcnn_score(const dcnn_model* model, const dcnn_image* image, const dcnn_options* options, dcnn_result* result,
                                dcnn_error* error);

/* "0.1.0": the project's version. */
DCNN_API const char* dcnn_version(void);

#ifdef __cplusplus
}
#endif

#endif
