// Text in UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace dcnn {

// Throws std::invalid_argument for bytes that are no UTF-8.
void require_utf8(std::string_view text);

bool is_utf8(std::string_view text);

// Copies whole characters, as many as there is room for; U+FFFD stands for every byte that is part of none. How many bytes were written.
size_t copy_utf8(std::string_view text, char* to, size_t room) noexcept;

std::string as_utf8(std::string_view text);

// Half of a pair of surrogates, which is no character, becomes three bytes that are no UTF-8.
void add_utf8(std::string& text, uint32_t code_point);

// How many characters.
size_t length_utf8(std::string_view text);

// At most so many bytes from the start, which end with a whole character; dots behind them where there were more.
std::string cut_utf8(std::string_view text, size_t most);

}  // namespace dcnn
