#include "capi/model_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "capi/bounds.h"
#include "capi/fields.h"
#include "capi/half.h"
#include "capi/status.h"
#include "capi/utf8.h"

namespace dcnn {

namespace {

using Kind = Json::Kind;

constexpr uint64_t kMostHeader = uint64_t{1} << 23, kLengthBytes = 8;
constexpr const char* kKey = "dcnn_fast";

[[noreturn]] void refuse(const std::string& why) { throw std::invalid_argument(why); }

uint64_t little_endian(const unsigned char* bytes) {
  uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = value << 8 | bytes[i];
  return value;
}

// A tensor's entry in the header. first, last: begin and end of its bytes, relative to the end of the header.
struct Entry {
  std::string type;
  std::vector<int64_t> shape;
  uint64_t first = 0, last = 0;
};

struct Header {
  std::map<std::string, Entry> tensors;
  std::string about;  // the remaining JSON text
  uint64_t start = 0;  // offset of the tensors' bytes
};

uint64_t type_bytes(const std::string& type) { return type == "F32" ? 4 : type == "F16" ? 2 : type == "I8" ? 1 : 0; }

Entry entry_of(const std::string& name, const Json& json) {
  const std::string owner = "the header's tensor '" + cut_utf8(name, 60) + "'";
  Fields fields(owner, json);
  Entry entry;
  entry.type = text_of(owner, "dtype", fields.need("dtype"), 20);
  fields.need("shape");
  fields.need("data_offsets");
  entry.shape = fields.integers("shape", 8, 0, int64_t{1} << 40);
  const std::vector<int64_t> offsets = fields.integers("data_offsets", 2, 0, int64_t{1} << 60);
  if (offsets.size() != 2 || offsets[0] > offsets[1]) fields.refuse("data_offsets", "where it begins and ends", "others");
  entry.first = static_cast<uint64_t>(offsets[0]);
  entry.last = static_cast<uint64_t>(offsets[1]);
  return entry;
}

std::string about_of(const Json& metadata) {
  if (!metadata.is(Kind::object)) refuse("the header's __metadata__ must be a JSON object");
  for (const auto& [name, value] : metadata.members()) {
    if (!value.is(Kind::text)) refuse("the header's __metadata__ must hold texts");
  }
  const Json* about = metadata.find(kKey);
  return about == nullptr ? std::string() : about->text();
}

Header read_header(const Bytes& file) {
  unsigned char start[kLengthBytes];
  if (file.size() < kLengthBytes) refuse("not a readable safetensors file: it ends before its header");
  file.read(0, sizeof start, start);
  const uint64_t length = little_endian(start);
  if (length > file.size() - kLengthBytes) refuse("not a readable safetensors file: its header is longer than the file");
  if (length > kMostHeader) refuse("its header must have at most 8,388,608 bytes, got " + std::to_string(length));
  std::string text(static_cast<size_t>(length), '\0');
  file.read(kLengthBytes, text.size(), text.data());
  const Json json = read_json(text);
  if (!json.is(Kind::object)) refuse("not a readable safetensors file: its header must be a JSON object");
  Header header;
  header.start = kLengthBytes + length;
  for (const auto& [name, value] : json.members()) {
    if (name == "__metadata__") {
      header.about = about_of(value);
    } else {
      header.tensors.emplace(name, entry_of(name, value));
    }
  }
  if (header.about.empty()) refuse("the header has no entry 'dcnn_fast': this is not a model file of this project");
  return header;
}

// The tensors' bytes must fill the file to its end without gaps, as safetensors requires.
void require_dense(const Header& header, uint64_t size) {
  std::vector<std::pair<uint64_t, uint64_t>> places;
  for (const auto& [name, entry] : header.tensors) places.emplace_back(entry.first, entry.last);
  std::sort(places.begin(), places.end());
  uint64_t at = 0;
  for (const auto& [first, last] : places) {
    if (first != at) refuse("not a readable safetensors file: its tensors do not follow one another");
    at = last;
  }
  if (at != size - header.start) refuse("not a readable safetensors file: its tensors do not end where the file does");
}

std::string shown(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t extent : shape) text += (text.empty() ? "[" : ", ") + std::to_string(extent);
  return text.empty() ? "[]" : text + "]";
}

void require_tensor(const std::string& name, const Entry& entry, const std::vector<int64_t>& shape, const std::vector<std::string>& types) {
  if (entry.shape != shape) refuse("tensor " + name + " must have shape " + shown(shape) + ", got " + shown(entry.shape));
  if (std::find(types.begin(), types.end(), entry.type) == types.end()) {
    refuse("tensor " + name + " must be float32, float16 or scaled int8, got " + entry.type);
  }
  uint64_t bytes = type_bytes(entry.type);
  for (const int64_t extent : shape) bytes *= static_cast<uint64_t>(extent);  // below 2**36, as the network is affordable
  if (entry.last - entry.first != bytes) refuse("tensor " + name + " must have " + std::to_string(bytes) + " bytes");
}

// The tensors must be exactly the network's, each of its shape and of a supported type, and their scales.
void require_tensors(const Header& header, const std::vector<TensorShape>& expected) {
  size_t known = 0;
  for (const auto& [name, shape] : expected) {
    const auto found = header.tensors.find(name), scale = header.tensors.find(name + ".scale");
    if (found == header.tensors.end()) refuse("tensors must be those of the spec; missing " + name);
    const bool scaled = scale != header.tensors.end();
    require_tensor(name, found->second, shape, scaled ? std::vector<std::string>{"I8"} : std::vector<std::string>{"F32", "F16"});
    if (scaled) require_tensor(scale->first, scale->second, {shape[0]}, {"F32", "F16"});
    known += scaled ? 2 : 1;
  }
  if (known != header.tensors.size()) refuse("tensors must be those of the spec; there are others");
}

std::vector<float> widened(const std::string& type, const std::vector<unsigned char>& bytes) {
  std::vector<float> values(bytes.size() / type_bytes(type));
  if (type == "F32") {
    if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  } else if (type == "F16") {
    for (size_t i = 0; i < values.size(); ++i) values[i] = from_half(static_cast<uint16_t>(bytes[2 * i] | bytes[2 * i + 1] << 8));
  } else {
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(static_cast<signed char>(bytes[i]));
  }
  return values;
}

std::vector<float> read_values(const Bytes& file, const Header& header, const Entry& entry) {
  std::vector<unsigned char> bytes(static_cast<size_t>(entry.last - entry.first));
  file.read(header.start + entry.first, bytes.size(), bytes.data());
  return widened(entry.type, bytes);
}

std::vector<float> read_tensor(const Bytes& file, const Header& header, const std::string& name) {
  std::vector<float> values = read_values(file, header, header.tensors.at(name));
  const auto scale = header.tensors.find(name + ".scale");
  if (scale != header.tensors.end()) {
    const std::vector<float> scales = read_values(file, header, scale->second);
    const size_t row = values.size() / scales.size();
    for (size_t i = 0; i < values.size(); ++i) values[i] *= scales[i / row];
  }
  if (!std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); })) {
    refuse("tensor " + name + " must be finite, got NaN or infinity");
  }
  return values;
}

std::vector<double> reference_of(const Json& json) {
  Fields fields("reference", json);
  if (fields.text("about", kMostHeader).empty()) fields.refuse("about", "text", "none");
  std::vector<double> scores;
  fields.need("scores");
  for (const Json* score : fields.list("scores", kMostHeader)) {
    if (!score->is_number() || !(score->number() >= 0 && score->number() <= 1)) fields.refuse("scores", "numbers from 0 to 1", score->shown());
    scores.push_back(score->number());
  }
  fields.finish();
  if (scores.size() < 2) fields.refuse("scores", "at least two", std::to_string(scores.size()));
  if (!std::is_sorted(scores.begin(), scores.end())) fields.refuse("scores", "ascending", "others");
  return scores;
}

void read_about(const std::string& text, ModelData& model) {
  const Json json = read_json(text);
  Fields fields("the header's dcnn_fast", json);
  const Json& format = fields.need("format");
  if (!format.is(Kind::integer) || format.whole() != 1) fields.refuse("format", "1", format.shown());
  model.network = network_of(fields.need("network"));
  if (const Json* reference = fields.take_or_null("reference")) model.reference = reference_of(*reference);
  const Json* provenance = fields.take_or_null("provenance");
  if (provenance == nullptr) return;
  if (!provenance->is(Kind::object)) refuse("provenance must be a JSON object");
  const Json* caution = provenance->find("caution");
  if (caution == nullptr || !caution->is(Kind::text)) return;
  model.caution = as_utf8(caution->text());
  if (model.caution.find('\0') != std::string::npos) throw Failure(DCNN_UNSUPPORTED, "the model's caution has a zero, which ends texts in C");
}

}  // namespace

ModelData read_model(const Bytes& file) {
  const Header header = read_header(file);
  ModelData model;
  read_about(header.about, model);
  const std::vector<TensorShape> expected = tensors_of(model.network);
  require_tensors(header, expected);
  require_dense(header, file.size());
  for (const auto& [name, shape] : expected) model.weights.emplace(name, read_tensor(file, header, name));
  return model;
}

}  // namespace dcnn
