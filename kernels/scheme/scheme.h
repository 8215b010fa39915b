// A quantization scheme as a value: a preset by name, what the caller overrides in it, and the resolved form that fixes
// every byte.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/format/element.h"

namespace quantd {

enum class Grouping : uint8_t { kBlock };
enum class ScaleDtype : uint8_t { kFloat32 };
enum class Arithmetic : uint8_t { kStrict, kBitsandbytes };
// What becomes of NaN and infinite input. kReject: an error that names the first one. kSaturate: NaN counts as +0, an
// infinity as the largest finite value of its type and sign. kLibrary: what the library's own kernel does.
enum class NonfinitePolicy : uint8_t { kReject, kSaturate, kLibrary };

// What a caller asks for. On the wire quantd.v1.Scheme, in files JSON, on the command line --scheme and --set.
struct SchemeRequest {
  std::string preset;
  std::map<std::string, std::string> overrides;
  uint32_t format_revision = 0;  // 0: the newest
};

// The resolved form: equal values make equal bytes.
struct Scheme {
  std::string preset;
  Element element{};
  Grouping grouping{};
  uint32_t block_size = 0;  // elements
  ScaleDtype scale_dtype{};
  bool double_quant = false;
  NestedCode nested_code{};
  uint32_t nested_block_size = 0;  // scales
  Arithmetic arithmetic{};
  NonfinitePolicy nonfinite{};
  uint32_t format_revision = 0;

  bool operator==(const Scheme&) const = default;
};

// Fills in the preset's defaults and checks that the combination makes sense.
// INVALID_ARGUMENT with reason UNKNOWN_SCHEME, INVALID_OVERRIDE or UNKNOWN_REVISION; the message lists what is
// possible.
absl::StatusOr<Scheme> ResolveScheme(const SchemeRequest& request);

// The request that resolves to `scheme`, every override of the preset present.
SchemeRequest FullyResolved(const Scheme& scheme);

struct OverrideInfo {
  std::string name;
  std::vector<std::string> values;
  std::string default_value;
};

struct PresetInfo {
  std::string name;
  std::string summary;        // one sentence
  std::string byte_equal_to;  // library and release, or empty
  std::vector<OverrideInfo> overrides;
};

// All presets, the most used first. Lives as long as the program.
std::span<const PresetInfo> AllPresets();

// Bits for one element of an endless tensor, scales included.
double BitsPerElement(const Scheme& scheme);

}  // namespace quantd
