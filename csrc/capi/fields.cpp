#include "capi/fields.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "capi/utf8.h"

namespace dcnn {

namespace {

using Kind = Json::Kind;

std::string joined(const std::vector<std::string>& words) {
  std::string all;
  for (const std::string& word : words) all += (all.empty() ? "" : ", ") + word;
  return all;
}

[[noreturn]] void refused(const std::string& owner, const std::string& name, const std::string& rule, const std::string& got) {
  throw std::invalid_argument(owner + ": " + name + " must be " + rule + ", got " + got);
}

}  // namespace

std::string text_of(const std::string& owner, const std::string& name, const Json& value, size_t most_characters) {
  if (!value.is(Kind::text)) refused(owner, name, "text", value.shown());
  const size_t length = length_utf8(value.text());
  if (length > most_characters) {
    refused(owner, name, "at most " + std::to_string(most_characters) + " characters", std::to_string(length));
  }
  return value.text();
}

Fields::Fields(std::string owner, const Json& object) : owner_(std::move(owner)), object_(object) {
  if (!object.is(Kind::object)) throw std::invalid_argument(owner_ + " must be a JSON object, got " + object.shown());
}

void Fields::refuse(const std::string& name, const std::string& rule, const std::string& got) const { refused(owner_, name, rule, got); }

const Json* Fields::take(const char* name) {
  taken_.emplace_back(name);
  return object_.find(name);
}

const Json* Fields::take_or_null(const char* name) {
  const Json* found = take(name);
  return found == nullptr || found->is(Kind::null) ? nullptr : found;
}

const Json& Fields::need(const char* name) {
  const Json* found = take(name);
  if (found == nullptr) throw std::invalid_argument(owner_ + " lacks " + name);
  return *found;
}

int64_t Fields::in_range(const char* name, const Json& value, int64_t least, int64_t most) const {
  if (!value.is(Kind::integer) || value.whole() < least || value.whole() > most) {
    refuse(name, "an integer from " + std::to_string(least) + " to " + std::to_string(most), value.shown());
  }
  return value.whole();
}

int64_t Fields::integer(const char* name, int64_t least, int64_t most, int64_t otherwise) {
  const Json* found = take(name);
  return found == nullptr ? otherwise : in_range(name, *found, least, most);
}

int64_t Fields::needed_integer(const char* name, int64_t least, int64_t most) { return in_range(name, need(name), least, most); }

double Fields::finite(const char* name, double otherwise) {
  const Json* found = take(name);
  if (found == nullptr) return otherwise;
  if (!found->is_number() || !std::isfinite(found->number())) refuse(name, "a finite number", found->shown());
  return found->number();
}

bool Fields::boolean(const char* name, bool otherwise) {
  const Json* found = take(name);
  if (found == nullptr) return otherwise;
  if (!found->is(Kind::boolean)) refuse(name, "true or false", found->shown());
  return found->truth();
}

size_t Fields::choice(const char* name, const std::vector<std::string>& choices, size_t otherwise) {
  const Json* found = take(name);
  if (found == nullptr) return otherwise;
  const auto at = found->is(Kind::text) ? std::find(choices.begin(), choices.end(), found->text()) : choices.end();
  if (at == choices.end()) refuse(name, "one of " + joined(choices), found->shown());
  return static_cast<size_t>(at - choices.begin());
}

std::string Fields::text(const char* name, size_t most_characters) { return text_of(owner_, name, need(name), most_characters); }

std::vector<const Json*> Fields::list(const char* name, size_t most) {
  std::vector<const Json*> found;
  const Json* value = take(name);
  if (value == nullptr) return found;
  if (!value->is(Kind::list)) refuse(name, "a list", value->shown());
  if (value->list().size() > most) refuse(name, "a list of at most " + std::to_string(most), std::to_string(value->list().size()));
  for (const Json& each : value->list()) found.push_back(&each);
  return found;
}

std::vector<int64_t> Fields::integers(const char* name, size_t most_entries, int64_t least, int64_t most) {
  std::vector<int64_t> found;
  for (const Json* each : list(name, most_entries)) found.push_back(in_range(name, *each, least, most));
  return found;
}

std::vector<std::string> Fields::texts(const char* name, size_t most_entries, size_t most_characters) {
  std::vector<std::string> found;
  for (const Json* each : list(name, most_entries)) found.push_back(text_of(owner_, name, *each, most_characters));
  return found;
}

void Fields::finish() const {
  for (const auto& [name, value] : object_.members()) {
    if (std::find(taken_.begin(), taken_.end(), name) == taken_.end()) {
      throw std::invalid_argument(owner_ + " has no field named " + cut_utf8(name, 60));
    }
  }
}

}  // namespace dcnn
