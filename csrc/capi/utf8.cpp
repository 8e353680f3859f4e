#include "capi/utf8.h"

#include <algorithm>
#include <stdexcept>

namespace dcnn {

namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

bool continues(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// The length in bytes of the character at the start of the text; 0 where it is invalid.
size_t size_of(std::string_view text) noexcept {
  const auto first = static_cast<unsigned char>(text[0]);
  const size_t size = first < 0x80 ? 1 : first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
  if (size == 0 || size > text.size()) return 0;
  if (!std::all_of(text.begin() + 1, text.begin() + static_cast<std::ptrdiff_t>(size), continues)) return 0;
  const auto second = size > 1 ? static_cast<unsigned char>(text[1]) : 0;
  // Overlong forms, surrogates, and code points past the last character.
  if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F)) return 0;
  if ((first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F)) return 0;
  return size;
}

}  // namespace

void require_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t size = size_of(text.substr(at));
    if (size == 0) throw std::invalid_argument("no JSON: byte " + std::to_string(at) + " is no UTF-8");
    at += size;
  }
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const size_t size = size_of(text);
    if (size == 0) return false;
    text.remove_prefix(size);
  }
  return true;
}

size_t copy_utf8(std::string_view text, char* to, size_t room) noexcept {
  size_t filled = 0;
  while (!text.empty()) {
    const size_t size = size_of(text);
    const std::string_view character = size == 0 ? kReplacement : text.substr(0, size);
    if (character.size() > room - filled) break;
    std::copy(character.begin(), character.end(), to + filled);
    filled += character.size();
    text.remove_prefix(std::max<size_t>(size, 1));
  }
  return filled;
}

std::string as_utf8(std::string_view text) {
  std::string found(kReplacement.size() * text.size(), '\0');
  found.resize(copy_utf8(text, found.data(), found.size()));
  return found;
}

void add_utf8(std::string& text, uint32_t code) {
  const auto add = [&](uint32_t byte) { text += static_cast<char>(byte); };
  if (code < 0x80) return add(code);
  const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  add((0xFF00u >> (more + 1) & 0xFFu) | code >> (6 * more));
  for (int shift = 6 * (more - 1); shift >= 0; shift -= 6) add(0x80 | (code >> shift & 0x3F));
}

size_t length_utf8(std::string_view text) {
  return text.size() - static_cast<size_t>(std::count_if(text.begin(), text.end(), continues));
}

std::string cut_utf8(std::string_view text, size_t most) {
  if (text.size() <= most) return std::string(text);
  size_t end = most;
  while (end > 0 && continues(text[end])) --end;
  return std::string(text.substr(0, end)) + "...";
}

}  // namespace dcnn
