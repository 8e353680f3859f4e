/* Scores a picture: score MODEL PICTURE.ppm (binary, eight bits per channel). Prints its score and each label's probability. */
#include <dcnn_fast.h>
#include <stdio.h>
#include <stdlib.h>

static uint8_t* read_ppm(const char* path, long* width, long* height) {
  FILE* file = fopen(path, "rb");
  if (file == NULL) return NULL;
  uint8_t* pixels = NULL;
  long levels;
  if (fscanf(file, "P6 %ld %ld %ld", width, height, &levels) == 3 && levels == 255 && fgetc(file) != EOF && *width > 0 && *height > 0 &&
      *width <= 65535 && *height <= 65535) {
    const size_t size = 3 * (size_t)*width * (size_t)*height;
    pixels = malloc(size);
    if (pixels != NULL && fread(pixels, 1, size, file) != size) {
      free(pixels);
      pixels = NULL;
    }
  }
  fclose(file);
  return pixels;
}

static int print_score(const dcnn_model* model, const uint8_t* pixels, long width, long height, dcnn_error* error) {
  dcnn_image image;
  dcnn_image_init(&image, pixels, width, height);
  dcnn_result result;
  dcnn_result_init(&result);
  result.probabilities_count = dcnn_model_labels(model);
  result.probabilities = malloc(result.probabilities_count * sizeof(double));
  const dcnn_status status = result.probabilities == NULL ? DCNN_MEMORY : dcnn_score(model, &image, NULL, &result, error);
  if (status == DCNN_OK) {
    printf("mean %.17g std %.17g percentile %.17g\n", result.mean, result.std, result.percentile);
    for (size_t i = 0; i < result.probabilities_count; ++i) printf("%s %.17g\n", dcnn_model_label(model, i), result.probabilities[i]);
  }
  free(result.probabilities);
  return status;
}

int main(int count, char** arguments) {
  if (count != 3) {
    fprintf(stderr, "usage: score MODEL PICTURE.ppm\n");
    return 2;
  }
  long width, height;
  uint8_t* pixels = read_ppm(arguments[2], &width, &height);
  if (pixels == NULL) {
    fprintf(stderr, "%s: is no binary PPM of eight bits a channel\n", arguments[2]);
    return 1;
  }
  dcnn_error error;
  dcnn_error_init(&error);
  dcnn_model* model;
  int status = dcnn_model_open(arguments[1], &model, &error);
  if (status == DCNN_OK) status = print_score(model, pixels, width, height, &error);
  if (status != DCNN_OK) fprintf(stderr, "%s\n", error.message);
  dcnn_model_close(model);
  free(pixels);
  return status == DCNN_OK ? 0 : 1;
}
