// An object's members, taken by name: one that is missing, of another type or out of range is refused, and so is one that nobody took.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "capi/json.h"

namespace dcnn {

class Fields {
 public:
  // owner: what the object is, for messages. Throws std::invalid_argument where it is no object, as all that follows does.
  Fields(std::string owner, const Json& object);

  // The member, or null where there is none.
  const Json* take(const char* name);
  // The same where "null" says that there is none, too.
  const Json* take_or_null(const char* name);
  const Json& need(const char* name);
  bool has(const char* name) const { return object_.find(name) != nullptr; }

  int64_t integer(const char* name, int64_t least, int64_t most, int64_t otherwise);
  int64_t needed_integer(const char* name, int64_t least, int64_t most);
  double finite(const char* name, double otherwise);
  bool boolean(const char* name, bool otherwise);
  // Which of the choices it is, by its place among them.
  size_t choice(const char* name, const std::vector<std::string>& choices, size_t otherwise);
  std::string text(const char* name, size_t most_characters);
  // `most` entries at most; none where the member is missing.
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

// The value as text of at most so many characters. owner, name: for the message.
std::string text_of(const std::string& owner, const std::string& name, const Json& value, size_t most_characters);

}  // namespace dcnn
