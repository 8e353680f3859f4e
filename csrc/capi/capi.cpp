// The boundary behind include/dcnn_fast.h: checks the callers' arguments and turns exceptions into a status and a sentence.
#include <pthread.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>

#include "capi/model.h"
#include "capi/status.h"
#include "capi/utf8.h"
#include "dcnn_fast.h"
#include "hashes.h"
#include "plain_arithmetic.h"
#include "run.h"

struct dcnn_model {
  dcnn::Model model;
};

namespace {

using dcnn::Failure;

constexpr int64_t kMostSide = (int64_t{1} << 31) - 1;
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// ---- Errors.

dcnn_status report(dcnn_error* error, dcnn_status status, const char* why) noexcept {
  constexpr size_t kHead = offsetof(dcnn_error, message);
  if (error == nullptr || error->struct_size < kHead) return status;
  error->status = status;
  const size_t room = std::min(error->struct_size, sizeof(dcnn_error)) - kHead;
  if (room == 0) return status;
  error->message[dcnn::copy_utf8(why, error->message, room - 1)] = '\0';
  return status;
}

// Runs `work` and returns its status. otherwise: the status for invalid arguments that `work` finds.
template <typename Work>
dcnn_status guarded(dcnn_error* error, dcnn_status otherwise, const Work& work) noexcept {
  try {
    const dcnn::PlainArithmetic plain;
    work();
    return report(error, DCNN_OK, "");
  } catch (const Failure& failure) {
    return report(error, failure.status(), failure.what());
  } catch (const std::invalid_argument& why) {
    return report(error, otherwise, why.what());
  } catch (const std::bad_alloc& why) {
    return report(error, DCNN_MEMORY, why.what());
  } catch (const std::length_error&) {
    return report(error, DCNN_MEMORY, "more memory is wanted than there can be");
  } catch (const std::exception& fault) {
    return report(error, DCNN_INTERNAL, fault.what());
  } catch (...) {
    return report(error, DCNN_INTERNAL, "an unknown fault");
  }
}

[[noreturn]] void refuse(const std::string& name, const std::string& rule, const std::string& got) {
  throw Failure(DCNN_ARGUMENT, name + " must be " + rule + ", got " + got);
}

void require_range(const char* name, int64_t value, int64_t least, int64_t most) {
  if (value < least || value > most) refuse(name, std::to_string(least) + " to " + std::to_string(most), std::to_string(value));
}

template <typename T>
void require_given(const char* name, const T* pointer) {
  if (pointer == nullptr) refuse(name, "given", "null");
}

// ---- Structs of callers compiled with this version or another.

// The end of the first version's fields. It never moves: later versions add fields behind it.
constexpr size_t kFirstImage = offsetof(dcnn_image, row_bytes) + sizeof(dcnn_image::row_bytes);
constexpr size_t kFirstOptions = offsetof(dcnn_options, reserved) + sizeof(dcnn_options::reserved);
constexpr size_t kFirstResult = offsetof(dcnn_result, enlarged) + sizeof(dcnn_result::enlarged);
constexpr size_t kMostStruct = 4096;  // no _init function sets a larger size

// Fills the caller's struct from `values`. Fields that only the caller has become 0; fields that only the library has are not
// written.
template <typename Struct>
void set_struct(Struct* given, size_t size, Struct values) {
  if (given == nullptr || size < sizeof values.struct_size) return;
  values.struct_size = size;
  std::memcpy(given, &values, std::min(size, sizeof values));
  if (size > sizeof values) std::memset(reinterpret_cast<unsigned char*>(given) + sizeof values, 0, size - sizeof values);
}

template <typename Struct>
void require_struct(const char* name, const Struct* given, size_t least) {
  require_given(name, given);
  if (given->struct_size < least || given->struct_size > kMostStruct) {
    refuse(std::string(name) + "->struct_size", "set by its _init function", std::to_string(given->struct_size));
  }
}

// Reads the caller's struct; fields that it lacks come from `otherwise`. Refuses values other than 0 in fields unknown to this
// version.
template <typename Struct>
Struct read_struct(const char* name, const Struct* given, Struct otherwise, size_t least) {
  require_struct(name, given, least);
  const auto* bytes = reinterpret_cast<const unsigned char*>(given);
  for (size_t i = sizeof(Struct); i < given->struct_size; ++i) {
    if (bytes[i] != 0) refuse(std::string(name) + ": fields that version " DCNN_VERSION " of the library does not know", "0", "others");
  }
  std::memcpy(&otherwise, given, std::min(given->struct_size, sizeof(Struct)));
  return otherwise;
}

constexpr dcnn_options kDefaults{sizeof(dcnn_options), 50, 1, 0, 0, 0, 0};
constexpr dcnn_result kNoResult{sizeof(dcnn_result), nullptr, 0, nullptr, 0, kNone, kNone, kNone, 0, -1, 0};

// Clears the result before scoring, so that the answer for another picture cannot stay. The caller's buffers are kept.
void forget(dcnn_result* given) {
  if (given == nullptr || given->struct_size < kFirstResult || given->struct_size > kMostStruct) return;
  const size_t first = offsetof(dcnn_result, mean), last = std::min(given->struct_size, sizeof kNoResult);
  std::memcpy(reinterpret_cast<unsigned char*>(given) + first, reinterpret_cast<const unsigned char*>(&kNoResult) + first, last - first);
}

dcnn::Scoring scoring_of(const dcnn_options* given) {
  const dcnn_options o = given == nullptr ? kDefaults : read_struct("options", given, kDefaults, kFirstOptions);
  require_range("options->views", o.views, 1, 1000000);
  if (o.grid != 1 && o.grid != 2 && o.grid != 4 && o.grid != 8) refuse("options->grid", "1, 2, 4 or 8", std::to_string(o.grid));
  require_range("options->seed", o.seed, 0, std::numeric_limits<int64_t>::max());
  require_range("options->long_side", o.long_side, 0, 65536);
  require_range("options->threads", o.threads, 0, 1024);
  require_range("options->reserved", o.reserved, 0, 0);
  const int threads = o.threads != 0 ? o.threads : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  return {{o.seed, o.views, o.grid}, o.long_side, threads};
}

dcnn::Picture picture_of(const dcnn_image* given) {
  const dcnn_image image = read_struct("image", given, dcnn_image{}, kFirstImage);
  require_given("image->pixels", image.pixels);
  require_range("image->width", image.width, 1, kMostSide);
  require_range("image->height", image.height, 1, kMostSide);
  if (image.row_bytes < 3 * image.width || image.row_bytes > std::numeric_limits<int64_t>::max() / image.height) {
    refuse("image->row_bytes", "at least 3 * width, and rows fewer than memory has", std::to_string(image.row_bytes));
  }
  return {image.pixels, image.height, image.width, image.row_bytes};
}

void require_room(const char* name, const double* values, size_t count, size_t wanted) {
  if (values != nullptr && count < wanted) refuse(name, "at least " + std::to_string(wanted), std::to_string(count));
}

// ---- Models and scores.

std::string chosen_isa() {
  const char* wanted = std::getenv("DCNN_FAST_CPU_ISA");
  std::string name = wanted == nullptr ? "" : wanted;
  const auto blank = [](char c) { return std::string_view(" \t\r\n").find(c) != std::string_view::npos; };
  while (!name.empty() && blank(name.back())) name.pop_back();
  while (!name.empty() && blank(name.front())) name.erase(name.begin());
  return name.empty() ? dcnn::available_isas().front()->name : name;
}

const dcnn::Isa& isa_in_use() {
  try {
    return dcnn::isa_named(chosen_isa());
  } catch (const std::invalid_argument& why) {
    throw Failure(DCNN_ARGUMENT, std::string("DCNN_FAST_CPU_ISA: ") + why.what());
  }
}

// Keeps the child of a fork from inheriting locked mutexes of the engine.
void watch_forks() {
  static const int watched = pthread_atfork(dcnn::before_fork, dcnn::after_fork, dcnn::after_fork);
  static_cast<void>(watched);
}

void load(const dcnn::Bytes& file, dcnn_model** model) {
  static_cast<void>(dcnn::hash_blocks());  // detects the processor once, before any fork can interrupt it
  watch_forks();
  const dcnn::Isa& isa = isa_in_use();
  *model = new dcnn_model{dcnn::Model(isa, dcnn::read_model(file))};
}

void answer(const dcnn::Model& model, const dcnn::Samples& samples, int64_t views, dcnn_result& result) {
  const std::vector<double>& probabilities = samples.probabilities;
  if (!std::all_of(probabilities.begin(), probabilities.end(), [](double p) { return std::isfinite(p); })) {
    throw Failure(DCNN_NOT_FINITE, "the model gives numbers that are not finite for this image");
  }
  const size_t labels = model.labels().size();
  const std::vector<double> means = dcnn::means_of(probabilities, labels);
  result.label = std::max_element(means.begin(), means.end()) - means.begin();
  result.views = views;
  result.enlarged = samples.enlarged ? 1 : 0;
  result.mean = result.std = result.percentile = kNone;
  if (const auto high = model.high()) {
    const dcnn::Spread spread = dcnn::spread_of(probabilities, labels, *high);
    result.mean = spread.mean;
    result.std = spread.std;
    result.percentile = model.percentile(spread.mean).value_or(kNone);
  }
  if (result.probabilities != nullptr) std::copy(means.begin(), means.end(), result.probabilities);
  if (result.samples != nullptr) std::copy(probabilities.begin(), probabilities.end(), result.samples);
}

void score(const dcnn_model* model, const dcnn_image* image, const dcnn_options* options, dcnn_result* given) {
  require_given("model", model);
  const dcnn::Picture picture = picture_of(image);
  const dcnn::Scoring scoring = scoring_of(options);
  require_struct("result", given, kFirstResult);
  dcnn_result result = kNoResult;
  std::memcpy(&result, given, std::min(given->struct_size, sizeof result));
  const size_t labels = model->model.labels().size();
  require_room("result->probabilities_count", result.probabilities, result.probabilities_count, labels);
  require_room("result->samples_count", result.samples, result.samples_count, labels * static_cast<size_t>(scoring.draws.views));
  answer(model->model, model->model.samples(picture, scoring), scoring.draws.views, result);
  std::memcpy(given, &result, std::min(result.struct_size, sizeof(dcnn_result)));
}

}  // namespace

void dcnn_error_init_sized(dcnn_error* error, size_t size) { set_struct(error, size, dcnn_error{}); }

void dcnn_image_init_sized(dcnn_image* image, size_t size, const uint8_t* pixels, int64_t width, int64_t height) {
  const bool countable = width >= 0 && width <= kMostSide;
  set_struct(image, size, dcnn_image{size, pixels, width, height, countable ? 3 * width : 0});
}

void dcnn_options_init_sized(dcnn_options* options, size_t size) { set_struct(options, size, kDefaults); }

void dcnn_result_init_sized(dcnn_result* result, size_t size) { set_struct(result, size, kNoResult); }

dcnn_status dcnn_model_open(const char* path, dcnn_model** model, dcnn_error* error) {
  if (model != nullptr) *model = nullptr;
  return guarded(error, DCNN_MODEL, [&] {
    require_given("model", model);
    require_given("path", path);
    load(dcnn::BytesOfFile(path), model);
  });
}

dcnn_status dcnn_model_read(const void* bytes, size_t size, dcnn_model** model, dcnn_error* error) {
  if (model != nullptr) *model = nullptr;
  return guarded(error, DCNN_MODEL, [&] {
    require_given("model", model);
    require_given("bytes", bytes);
    load(dcnn::BytesInMemory(bytes, size), model);
  });
}

void dcnn_model_close(dcnn_model* model) { delete model; }

size_t dcnn_model_labels(const dcnn_model* model) { return model == nullptr ? 0 : model->model.labels().size(); }

const char* dcnn_model_label(const dcnn_model* model, size_t label) {
  return label < dcnn_model_labels(model) ? model->model.labels()[label].c_str() : nullptr;
}

const char* dcnn_model_caution(const dcnn_model* model) { return model == nullptr ? "" : model->model.caution().c_str(); }

const char* dcnn_model_isa(const dcnn_model* model) { return model == nullptr ? "" : model->model.isa().name; }

dcnn_status dcnn_score(const dcnn_model* model, const dcnn_image* image, const dcnn_options* options, dcnn_result* result, dcnn_error* error) {
  forget(result);
  return guarded(error, DCNN_INTERNAL, [&] { score(model, image, options, result); });
}

const char* dcnn_version(void) { return DCNN_VERSION; }
