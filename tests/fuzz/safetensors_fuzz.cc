#include <algorithm>
#include <string_view>

#include "server/conversion/safetensors_header.h"
#include "tests/fuzz/fuzz_target.h"

namespace quantd::testing {

using server::LayOutSafetensors;
using server::ParseSafetensorsHeader;
using server::SafetensorsDeclaration;
using server::SafetensorsEntry;

// The first two bytes say how long the data section is.
std::string FuzzSafetensors(std::span<const uint8_t> input) {
  if (input.size() < 2) return "";
  const uint64_t data_bytes = input[0] + 256u * input[1];
  const std::string_view json(reinterpret_cast<const char*>(input.data()) + 2, input.size() - 2);
  const auto header = ParseSafetensorsHeader(json, data_bytes);
  if (!header.ok()) return header.status().message().empty() ? "refused without a word" : "";

  uint64_t end_bytes = 0;
  std::vector<SafetensorsDeclaration> declarations;
  for (const SafetensorsEntry& entry : header->tensors) {
    if (entry.begin_bytes != end_bytes || entry.end_bytes < entry.begin_bytes) return "a hole or an overlap";
    if (entry.size_bytes() * 8 != entry.element_count() * entry.dtype.bits) return "a size that is not the shape's";
    end_bytes = entry.end_bytes;
    declarations.push_back({entry.name, entry.dtype, entry.shape});
  }
  if (end_bytes != data_bytes) return "the tensors do not fill the data section";

  const auto layout = LayOutSafetensors(declarations, header->metadata);
  if (!layout.ok()) return "cannot be laid out again: " + layout.status().ToString();
  const auto again =
      ParseSafetensorsHeader(std::string_view(layout->prefix).substr(server::kSafetensorsLengthBytes), data_bytes);
  if (!again.ok()) return "what was laid out cannot be read: " + again.status().ToString();
  if (again->metadata != header->metadata || again->tensors.size() != header->tensors.size()) return "read otherwise";
  return "";
}

}  // namespace quantd::testing
