#include "server/conversion/printable.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace quantd::server {
namespace {

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// Escapes what Utf8SafeCEscape leaves: the C1 control characters, which terminals obey.
std::string WithoutC1(const std::string& text) {
  std::string clean;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool c1 = text[i] == '\xC2' && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (c1) {
      clean += '?';
      ++i;
    } else {
      clean += text[i];
    }
  }
  return clean;
}

}  // namespace

std::string Printable(std::string_view text) {
  std::string cut(text);
  if (cut.size() > kPrintableBytesMax) {
    size_t head = kPrintableBytesMax / 2;
    size_t tail = cut.size() - kPrintableBytesMax / 2;
    while (head > 0 && IsContinuation(cut[head])) --head;
    while (tail < cut.size() && IsContinuation(cut[tail])) ++tail;
    cut = cut.substr(0, head) + "..." + cut.substr(tail);
  }
  return WithoutC1(absl::Utf8SafeCHexEscape(cut));
}

std::string Quoted(std::string_view text) { return absl::StrCat("'", Printable(text), "'"); }

}  // namespace quantd::server
