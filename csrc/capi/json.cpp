#include "capi/json.h"

#include <locale.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <limits>
#include <stdexcept>
#include <system_error>

#include "capi/utf8.h"

namespace dcnn {

namespace {

constexpr int kDeepest = 200;
constexpr size_t kMostDigits = 100, kShown = 60;

const locale_t kPlain = newlocale(LC_ALL_MASK, "C", nullptr);  // with a decimal point in numbers

bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

class JsonReader {
 public:
  explicit JsonReader(std::string_view text) : text_(text) {}

  Json whole_text() {
    Json found = value(0);
    skip_space();
    if (at_ != text_.size()) fail("there is more behind its end");
    return found;
  }

 private:
  [[noreturn]] void fail(const std::string& why) const {
    throw std::invalid_argument("no JSON: " + why + " at byte " + std::to_string(at_));
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  bool take(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  void skip_space() {
    while (at_ < text_.size() && std::string_view(" \t\n\r").find(text_[at_]) != std::string_view::npos) ++at_;
  }

  Json value(int depth) {
    if (depth > kDeepest) fail("it is nested too deeply");
    skip_space();
    if (take('{')) return object(depth);
    if (take('[')) return list(depth);
    if (peek() == '"') return text_value();
    return word_or_number();
  }

  Json object(int depth) {
    Json found = holding(Json::Kind::object);
    auto& members = found.held_->members;
    skip_space();
    if (take('}')) return found;
    do {
      skip_space();
      std::string name = text();
      skip_space();
      if (!take(':')) fail("a name must be followed by a colon");
      members.emplace_back(std::move(name), value(depth + 1));
      skip_space();
    } while (take(','));
    if (!take('}')) fail("an object does not end");
    require_different(members);
    return found;
  }

  // Sorts rather than hashes: an attacker can choose names that collide in a hash table.
  void require_different(const std::vector<Json::Member>& members) const {
    std::vector<std::string_view> names;
    for (const auto& [name, of] : members) names.push_back(name);
    std::sort(names.begin(), names.end());
    const auto twice = std::adjacent_find(names.begin(), names.end());
    if (twice != names.end()) fail("an object has the name '" + cut_utf8(*twice, kShown) + "' twice");
  }

  Json list(int depth) {
    Json found = holding(Json::Kind::list);
    skip_space();
    if (take(']')) return found;
    do {
      found.held_->list.push_back(value(depth + 1));
      skip_space();
    } while (take(','));
    if (!take(']')) fail("a list does not end");
    return found;
  }

  Json text_value() {
    Json found = holding(Json::Kind::text);
    found.held_->text = text();
    return found;
  }

  std::string text() {
    if (!take('"')) fail("a name must be text");
    std::string found;
    for (;;) {
      if (at_ >= text_.size()) fail("a text does not end");
      const char c = text_[at_];
      if (static_cast<unsigned char>(c) < 0x20) fail("a text has a control character");
      ++at_;
      if (c == '"') return found;
      if (c == '\\') {
        escape(found);
      } else {
        found += c;
      }
    }
  }

  void escape(std::string& found) {
    static constexpr std::string_view kNames = "\"\\/bfnrt", kMeant = "\"\\/\b\f\n\r\t";
    if (take('u')) return add_utf8(found, code_point());
    const size_t which = kNames.find(peek());
    if (at_ >= text_.size() || which == std::string_view::npos) fail("a text has an escape that there is not");
    ++at_;
    found += kMeant[which];
  }

  uint32_t code_point() {
    const uint32_t first = code_unit();
    if (first < 0xD800 || first >= 0xDC00) return first;
    const size_t behind = at_;
    const uint32_t second = take("\\u") ? code_unit() : 0;
    if (second < 0xDC00 || second > 0xDFFF) {
      at_ = behind;
      return first;
    }
    return 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
  }

  uint32_t code_unit() {
    const std::string_view digits = text_.substr(at_, 4);
    uint32_t found = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), found, 16);
    if (digits.size() < 4 || error != std::errc() || end != digits.data() + 4) fail("an escape lacks its four digits");
    at_ += 4;
    return found;
  }

  Json word_or_number() {
    if (take("true")) return whole(Json::Kind::boolean, 1);
    if (take("false")) return whole(Json::Kind::boolean, 0);
    if (take("null")) return whole(Json::Kind::null, 0);
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    if (take("NaN")) return real(std::numeric_limits<double>::quiet_NaN());
    if (take("Infinity")) return real(kInfinity);
    if (take("-Infinity")) return real(-kInfinity);
    return number();
  }

  Json number() {
    const size_t first = at_;
    take('-');
    const size_t digits = at_;
    if (!take('0')) skip_digits();
    const size_t count = at_ - digits;
    bool plain = true;
    if (take('.')) plain = false, skip_digits();
    if (peek() == 'e' || peek() == 'E') {
      plain = false, ++at_;
      if (!take('+')) take('-');
      skip_digits();
    }
    const std::string_view all = text_.substr(first, at_ - first);
    if (plain && count > kMostDigits) fail("a number must have at most 100 digits");
    Json found = real(strtod_l(std::string(all).c_str(), nullptr, kPlain));
    if (!plain) return found;
    const auto [end, error] = std::from_chars(all.data(), all.data() + all.size(), found.whole_);
    if (error != std::errc()) {
      found.whole_ = all[0] == '-' ? std::numeric_limits<int64_t>::min() : std::numeric_limits<int64_t>::max();
    }
    static_cast<void>(end);
    found.kind_ = Json::Kind::integer;
    return found;
  }

  void skip_digits() {
    if (!is_digit(peek())) fail("there is no value");
    while (is_digit(peek())) ++at_;
  }

  static Json holding(Json::Kind kind) {
    Json found;
    found.kind_ = kind;
    found.held_ = std::make_unique<Json::Held>();
    return found;
  }

  static Json whole(Json::Kind kind, int64_t value) {
    Json found;
    found.kind_ = kind;
    found.whole_ = value;
    return found;
  }

  static Json real(double value) {
    Json found;
    found.kind_ = Json::Kind::real;
    found.number_ = value;
    return found;
  }

  std::string_view text_;
  size_t at_ = 0;
};

const Json* Json::find(std::string_view name) const {
  for (const auto& [known, value] : members()) {
    if (known == name) return &value;
  }
  return nullptr;
}

std::string Json::shown() const {
  switch (kind_) {
    case Kind::null:
      return "null";
    case Kind::boolean:
      return truth() ? "true" : "false";
    case Kind::integer:
      return std::to_string(whole_);
    case Kind::real:
      return std::to_string(number_);
    case Kind::text:
      return "'" + cut_utf8(text(), kShown) + "'";
    case Kind::list:
      return "a list of " + std::to_string(list().size());
    default:
      return "an object";
  }
}

Json read_json(std::string_view text) {
  require_utf8(text);
  return JsonReader(text).whole_text();
}

}  // namespace dcnn
