// Untrusted JSON, read as in dcnn_fast/strict_json.py: malformed text is refused in one sentence.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dcnn {

// One value. It is kept small, as a file of a few megabytes may hold millions.
class Json {
 public:
  enum class Kind : unsigned char { null, boolean, integer, real, text, list, object };
  using Member = std::pair<std::string, Json>;

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool is_number() const { return kind_ == Kind::integer || kind_ == Kind::real; }

  bool truth() const { return whole_ != 0; }      // of a boolean
  int64_t whole() const { return whole_; }        // of an integer, clamped to 64 bits
  double number() const { return number_; }       // of a number
  const std::string& text() const { return held_->text; }
  const std::vector<Json>& list() const { return held_->list; }
  const std::vector<Member>& members() const { return held_->members; }  // of an object, in the file's order

  // The object's member `name`, or null.
  const Json* find(std::string_view name) const;

  // The value, shortened for messages.
  std::string shown() const;

 private:
  friend class JsonReader;
  struct Held {
    std::string text;
    std::vector<Json> list;
    std::vector<Member> members;
  };

  double number_ = 0.0;
  int64_t whole_ = 0;
  std::unique_ptr<Held> held_;
  Kind kind_ = Kind::null;
};

// Parses UTF-8 text. Accepts NaN and infinities, as Python writes them. Throws std::invalid_argument for malformed JSON, for an
// object with the same name twice, an integer of more than a hundred digits, or nesting deeper than 200. As in Python, numbers
// beyond a double's range become infinite or 0, and the escape of a lone surrogate is kept (see add_utf8).
Json read_json(std::string_view text);

}  // namespace dcnn
