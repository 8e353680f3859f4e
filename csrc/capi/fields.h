// Takes an object's members by name. Refuses missing members, wrong types, values out of range, and members not taken.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "capi/json.h"

namespace dcnn {

class Fields {
 public:
  // owner: the object's name in messages. Throws std::invalid_argument where the JSON is no object, as do the functions below.
  Fields(std::string owner, const Json& object);

  // The member, or null where it is missing.
  const Json* take(const char* name);
  // The same, and null for a JSON null.
  const Json* take_or_null(const char* name);
  const Json& need(const char* name);
  bool has(const char* name) const { return object_.find(name) != nullptr; }

  int64_t integer(const char* name, int64_t least, int64_t most, int64_t otherwise);
  int64_t needed_integer(const char* name, int64_t least, int64_t most);
  double finite(const char* name, double otherwise);
  bool boolean(const char* name, bool otherwise);
  // The index of the member's value among the choices.
  size_t choice(const char* name, const std::vector<std::string>& choices, size_t otherwise);
  std::string text(const char* name, size_t most_characters);
  // The member's list of at most `most` entries; empty where the member is missing.
  std::vector<const Json*> list(const char* name, size_t most);
  std::vector<int64_t> integers(const char* name, size_t most_entries, int64_t least, int64_t most);
  std::vector<std::string> texts(const char* name, size_t most_entries, size_t most_characters);

  // Refuses members that were not taken.
  void finish() const;

  [[noreturn]] void refuse(const std::string& name, const std::string& rule, const std::string& got) const;

 private:
  int64_t in_range(const char* name, const Json& value, int64_t least, int64_t most) const;

  std::string owner_;
  const Json& object_;
  std::vector<std::string> taken_;
};

// The value as text of at most `most_characters` characters. owner, name: for the message.
std::string text_of(const std::string& owner, const std::string& name, const Json& value, size_t most_characters);

}  // namespace dcnn
