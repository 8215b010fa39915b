#include "server/conversion/printable.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace quantd::server {
namespace {

bool IsContinuation(char c) { return (static_cast<uint8_t>(c) & 0xC0) == 0x80; }

// Bytes of the UTF-8 character that `text` begins with; 0 if it does not begin with one. `text` is not empty.
size_t CharacterBytes(std::string_view text) {
  const uint8_t lead = static_cast<uint8_t>(text[0]);
  if (lead < 0x80) return 1;
  const size_t bytes = lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
  if (bytes == 0 || text.size() < bytes) return 0;
  for (size_t i = 1; i < bytes; ++i) {
    if (!IsContinuation(text[i])) return 0;
  }
  const uint8_t second = static_cast<uint8_t>(text[1]);
  const bool overlong = (lead == 0xE0 && second < 0xA0) || (lead == 0xF0 && second < 0x90);
  const bool no_character = (lead == 0xED && second > 0x9F) || (lead == 0xF4 && second > 0x8F);
  return overlong || no_character ? 0 : bytes;
}

// C0, DEL and C1: what a terminal obeys.
bool IsControl(std::string_view character) {
  const uint8_t first = static_cast<uint8_t>(character[0]);
  return first < 0x20 || first == 0x7F || (first == 0xC2 && static_cast<uint8_t>(character[1]) < 0xA0);
}

}  // namespace

std::string Escaped(std::string_view text) {
  std::string escaped;
  while (!text.empty()) {
    const size_t bytes = CharacterBytes(text);
    if (bytes > 0 && !IsControl(text.substr(0, bytes))) {
      escaped += text.substr(0, bytes);
      text.remove_prefix(bytes);
    } else {
      escaped += absl::StrFormat("\\x%02x", static_cast<uint8_t>(text[0]));
      text.remove_prefix(1);
    }
  }
  return escaped;
}

std::string Printable(std::string_view text) {
  if (text.size() <= kPrintableBytesMax) return Escaped(text);
  size_t head = kPrintableBytesMax / 2;
  size_t tail = text.size() - kPrintableBytesMax / 2;
  while (head > 0 && IsContinuation(text[head])) --head;
  while (tail < text.size() && IsContinuation(text[tail])) ++tail;
  return absl::StrCat(Escaped(text.substr(0, head)), "...", Escaped(text.substr(tail)));
}

std::string Quoted(std::string_view text) { return absl::StrCat("'", Printable(text), "'"); }

}  // namespace quantd::server
