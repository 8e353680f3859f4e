// Text in UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace dcnn {

// Throws std::invalid_argument for bytes that are not UTF-8.
void require_utf8(std::string_view text);

bool is_utf8(std::string_view text);

// Copies as many whole characters as fit, U+FFFD for every invalid byte. Returns the number of bytes written.
size_t copy_utf8(std::string_view text, char* to, size_t room) noexcept;

std::string as_utf8(std::string_view text);

// Appends a code point. A lone surrogate, which is not a character, becomes three bytes of invalid UTF-8.
void add_utf8(std::string& text, uint32_t code_point);

// The number of characters.
size_t length_utf8(std::string_view text);

// The text cut after a whole character to at most `most` bytes, followed by dots where anything was cut.
std::string cut_utf8(std::string_view text, size_t most);

}  // namespace dcnn
