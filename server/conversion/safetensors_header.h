// The header of a safetensors file: 8 bytes of length (little-endian), JSON, and after it the data section, which the
// tensors fill without holes or overlap.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/conversion/safetensors_dtype.h"

namespace quantd::server {

inline constexpr uint64_t kSafetensorsLengthBytes = 8;
inline constexpr uint64_t kSafetensorsHeaderBytesMax = 100'000'000;
// Of one tensor; more would not name a real array.
inline constexpr size_t kSafetensorsRankMax = 64;

// One tensor and where its bytes are.
struct SafetensorsEntry {
  std::string name;
  SafetensorsDtype dtype{};
  std::vector<uint64_t> shape;  // outermost first; empty: a scalar
  uint64_t begin_bytes = 0;     // in the data section
  uint64_t end_bytes = 0;

  uint64_t size_bytes() const { return end_bytes - begin_bytes; }
  uint64_t element_count() const;
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> tensors;  // in the order of their bytes
  std::map<std::string, std::string> metadata;
};

// Reads the JSON of a header in front of a data section of `data_bytes`. Stricter than the format asks: names and keys
// twice, keys that the format does not know and NUL bytes are refused too.
// INVALID_ARGUMENT with what is wrong and where.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(std::string_view json, uint64_t data_bytes);

// What a tensor of a file to be written is.
struct SafetensorsDeclaration {
  std::string name;
  SafetensorsDtype dtype{};
  std::vector<uint64_t> shape;
};

// Where everything of a new file lies, and its first bytes.
struct SafetensorsLayout {
  std::string prefix;                     // length and JSON, padded with blanks to a multiple of 8 bytes
  std::vector<SafetensorsEntry> tensors;  // in the order of their bytes: by falling dtype rank, then by name
  uint64_t data_bytes = 0;
};

// Lays a file out as the safetensors library does.
// INVALID_ARGUMENT: a name twice or "__metadata__", text that is not UTF-8, sizes beyond 64 bits, a header beyond
// kSafetensorsHeaderBytesMax.
absl::StatusOr<SafetensorsLayout> LayOutSafetensors(std::vector<SafetensorsDeclaration> declarations,
                                                    const std::map<std::string, std::string>& metadata);

}  // namespace quantd::server
