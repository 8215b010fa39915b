// Names that strangers chose, made fit for a message or a terminal.
#pragma once

#include <string>
#include <string_view>

namespace quantd::server {

inline constexpr size_t kPrintableBytesMax = 160;

// `text` with control characters and broken UTF-8 escaped.
std::string Escaped(std::string_view text);

// Escaped, and cut in the middle beyond kPrintableBytesMax.
std::string Printable(std::string_view text);

// Printable in single quotes.
std::string Quoted(std::string_view text);

}  // namespace quantd::server
