// JSON of any origin, as dcnn_fast/strict_json.py reads it: what is not plainly JSON is refused in one sentence.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dcnn {

// One value. It takes few bytes, as a file of some megabytes may hold millions.
class Json {
 public:
  enum class Kind : unsigned char { null, boolean, integer, real, text, list, object };
  using Member = std::pair<std::string, Json>;

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool is_number() const { return kind_ == Kind::integer || kind_ == Kind::real; }

  bool truth() const { return whole_ != 0; }      // of a boolean
  int64_t whole() const { return whole_; }        // of an integer; the nearest that 64 bits hold
  double number() const { return number_; }       // of a number
  const std::string& text() const { return held_->text; }
  const std::vector<Json>& list() const { return held_->list; }
  const std::vector<Member>& members() const { return held_->members; }  // of an object, in the file's order

  // An object's member of that name, or null.
  const Json* find(std::string_view name) const;

  // The value as a message has room for it.
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

// What the text says, in UTF-8; NaN and infinities are read, as Python writes them. Throws std::invalid_argument for text that is no
// JSON, a name that an object has twice, an integer of more than a hundred digits, and what is nested more than 200 deep. As Python has
// it, a number past a double's range is infinite or 0, and an escape of half of a surrogate pair stays (add_utf8 says as what).
Json read_json(std::string_view text);

}  // namespace dcnn
