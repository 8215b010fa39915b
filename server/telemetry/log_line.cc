#include "server/telemetry/log_line.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace quantd::server {
namespace {

using nlohmann::json;

// As a JSON string: one line of printable ASCII; bytes that are not UTF-8 become U+FFFD.
std::string Quoted(std::string_view text) {
  const json value = std::string(text.substr(0, kLogValueBytesMax));
  return value.dump(-1, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace);
}

std::string NumberOrQuoted(const LogField& field) {
  if (const auto* text = std::get_if<std::string>(&field.value)) return Quoted(*text);
  if (const auto* integer = std::get_if<uint64_t>(&field.value)) return std::to_string(*integer);
  return json(std::get<double>(field.value)).dump();
}

bool IsPlain(unsigned char c, bool space_allowed) {
  return (c > ' ' && c < 0x7f && c != '"' && c != '\\' && c != '=') || (space_allowed && c == ' ');
}

std::string PlainOrQuoted(std::string_view text, bool space_allowed) {
  const bool plain = !text.empty() && text.size() <= kLogValueBytesMax &&
                     std::all_of(text.begin(), text.end(),
                                 [&](char c) { return IsPlain(static_cast<unsigned char>(c), space_allowed); });
  return plain ? std::string(text) : Quoted(text);
}

}  // namespace

std::string TextLine(std::string_view message, std::initializer_list<LogField> fields) {
  std::string line = PlainOrQuoted(message, /*space_allowed=*/true);
  for (const LogField& field : fields) {
    line.append(" ").append(field.name).append("=");
    const auto* text = std::get_if<std::string>(&field.value);
    line += text != nullptr ? PlainOrQuoted(*text, /*space_allowed=*/false) : NumberOrQuoted(field);
  }
  return line;
}

std::string JsonMembers(std::string_view message, std::initializer_list<LogField> fields) {
  std::string line = "\"message\":" + Quoted(message);
  for (const LogField& field : fields) {
    line.append(",\"").append(field.name).append("\":").append(NumberOrQuoted(field));
  }
  return line;
}

}  // namespace quantd::server
