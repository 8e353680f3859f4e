// Scores a picture: score MODEL PICTURE.ppm (binary, eight bits per channel), with exceptions and destructors, not statuses.
#include <dcnn_fast.h>

#include <cstdio>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

// Throws the error that a call reports.
template <typename Call>
void checked(const Call& call) {
  dcnn_error error;
  dcnn_error_init(&error);
  if (call(&error) != DCNN_OK) throw std::runtime_error(error.message);
}

struct Close {
  void operator()(dcnn_model* model) const { dcnn_model_close(model); }
};
using Model = std::unique_ptr<dcnn_model, Close>;

Model opened(const char* path) {
  dcnn_model* model = nullptr;
  checked([&](dcnn_error* error) { return dcnn_model_open(path, &model, error); });
  return Model(model);
}

struct Picture {
  int64_t width = 0, height = 0;
  std::vector<uint8_t> pixels;
};

Picture read_ppm(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string kind;
  int levels = 0;
  Picture picture;
  file >> kind >> picture.width >> picture.height >> levels;
  const bool right = file && kind == "P6" && levels == 255 && picture.width > 0 && picture.height > 0 && picture.width <= 65535 && picture.height <= 65535;
  if (right) picture.pixels.resize(static_cast<size_t>(3 * picture.width * picture.height));
  file.get();
  if (!right || !file.read(reinterpret_cast<char*>(picture.pixels.data()), static_cast<std::streamsize>(picture.pixels.size()))) {
    throw std::runtime_error(path + ": is no binary PPM of eight bits a channel");
  }
  return picture;
}

}  // namespace

int main(int count, char** arguments) try {
  if (count != 3) throw std::runtime_error("usage: score MODEL PICTURE.ppm");
  const Model model = opened(arguments[1]);
  const Picture picture = read_ppm(arguments[2]);
  dcnn_image image;
  dcnn_image_init(&image, picture.pixels.data(), picture.width, picture.height);
  std::vector<double> probabilities(dcnn_model_labels(model.get()));
  dcnn_result result;
  dcnn_result_init(&result);
  result.probabilities = probabilities.data();
  result.probabilities_count = probabilities.size();
  checked([&](dcnn_error* error) { return dcnn_score(model.get(), &image, nullptr, &result, error); });
  std::printf("mean %.17g std %.17g percentile %.17g\n", result.mean, result.std, result.percentile);
  for (size_t i = 0; i < probabilities.size(); ++i) std::printf("%s %.17g\n", dcnn_model_label(model.get(), i), probabilities[i]);
  return 0;
} catch (const std::exception& why) {
  std::fprintf(stderr, "%s\n", why.what());
  return 1;
}
