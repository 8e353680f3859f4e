// Model files in the C library's reader: any bytes are a model, or are refused with a sentence. The first byte selects the kind
// of the others: a whole file, a header to which length and tensors are added, or the header's entry of this project.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "capi/json.h"
#include "capi/model_file.h"
#include "capi/network.h"
#include "capi/status.h"
#include "dcnn_fast.h"

namespace {

constexpr size_t kMostBytes = 1 << 20;  // of tensors, which limits an input to milliseconds

// The end of a header's tensors in bytes, if it is small.
size_t bytes_of(const std::string& header) {
  size_t last = 0;
  try {
    const dcnn::Json json = dcnn::read_json(header);
    if (!json.is(dcnn::Json::Kind::object)) return 0;
    for (const auto& [name, tensor] : json.members()) {
      const dcnn::Json* offsets = tensor.is(dcnn::Json::Kind::object) ? tensor.find("data_offsets") : nullptr;
      if (offsets == nullptr || !offsets->is(dcnn::Json::Kind::list)) continue;
      for (const dcnn::Json& offset : offsets->list()) {
        if (offset.whole() > 0 && static_cast<uint64_t>(offset.whole()) > last) last = static_cast<size_t>(offset.whole());
      }
    }
  } catch (const std::invalid_argument&) {
  }
  return last > kMostBytes ? 0 : last;
}

std::string file_around(const std::string& header) {
  std::string file(8, '\0');
  for (int i = 0; i < 8; ++i) file[static_cast<size_t>(i)] = static_cast<char>(header.size() >> (8 * i));
  return file + header + std::string(bytes_of(header), '\0');
}

void read_file(const std::string& file) {
  dcnn_error error;
  dcnn_error_init(&error);
  dcnn_model* model = nullptr;
  const dcnn_status status = dcnn_model_read(file.data(), file.size(), &model, &error);
  const bool known = status == DCNN_OK || status == DCNN_MODEL || status == DCNN_UNSUPPORTED || status == DCNN_MEMORY;
  if (!known || (status == DCNN_OK) != (model != nullptr) || (status != DCNN_OK && error.message[0] == '\0')) {
    std::fprintf(stderr, "status %d: %s\n", status, error.message);
    std::abort();
  }
  dcnn_model_close(model);
}

void read_network(const std::string& text) {
  try {
    const auto tensors = dcnn::tensors_of(dcnn::network_of(dcnn::read_json(text)));
    if (tensors.empty()) std::abort();
  } catch (const std::invalid_argument&) {
  } catch (const dcnn::Failure&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 3) {
    case 0:
      read_file(rest);
      break;
    case 1:
      read_file(file_around(rest));
      break;
    default:
      read_network(rest);
  }
  return 0;
}
