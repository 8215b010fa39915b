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

// What shares a scale. kNone: there is none. kChannel: a row of the tensor flattened to two dimensions. kBlock: a run
// of the flattened tensor. kGroup: a run inside a row. kTile: a rectangle.
enum class Grouping : uint8_t { kNone, kTensor, kChannel, kBlock, kGroup, kTile };
// kInput: the type of the values, whichever that is. kE4m3 is relative to a scale of the whole tensor.
enum class ScaleDtype : uint8_t { kNone, kInput, kFloat32, kFloat16, kBFloat16, kE8m0, kE4m3 };
// How an absmax becomes a power of two.
enum class ScaleRule : uint8_t { kFloor, kCeil, kEven, kRceil };
enum class Arithmetic : uint8_t { kStrict, kBitsandbytes, kCompressedTensors, kTorchao, kGgml };
// What becomes of a value beyond a small float's largest: that, or infinity or NaN as IEEE 754 has it.
enum class Overflow : uint8_t { kSaturate, kIeee };
enum class Rounding : uint8_t { kNearest };
// Which range of a run becomes the range of the codes. kMse: of 80 clippings of it the one with the least sum of
// squared errors, weighted by an importance of each channel where there is one.
enum class RangeChoice : uint8_t { kMinmax, kMse };
// What becomes of NaN and infinite input. kReject: an error that names the first one. kSaturate: NaN counts as +0, an
// infinity as the largest finite value of its type and sign. kLibrary: what the library's own kernel does.
enum class NonfinitePolicy : uint8_t { kReject, kSaturate, kLibrary };

// What a caller asks for. On the wire quantd.v1.Scheme, in files JSON, on the command line --scheme and --set.
struct SchemeRequest {
  std::string preset;
  std::map<std::string, std::string> overrides;
  uint32_t format_revision = 0;  // 0: the newest

  bool operator==(const SchemeRequest&) const = default;
};

// The resolved form: equal values make equal bytes.
struct Scheme {
  std::string preset;
  Element element{};
  Grouping grouping{};
  uint32_t block_size = 0;  // elements, of kBlock
  uint32_t group_size = 0;  // elements, of kGroup
  uint32_t tile_rows = 0;   // of kTile
  uint32_t tile_cols = 0;   // of kTile
  bool symmetric = true;
  ScaleDtype scale_dtype{};
  ScaleRule scale_rule{};
  bool double_quant = false;
  NestedCode nested_code{};
  uint32_t nested_block_size = 0;  // scales
  Arithmetic arithmetic{};
  Overflow overflow{};
  Rounding rounding{};
  RangeChoice range{};
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
  std::string summary;                   // one sentence
  std::string byte_equal_to;             // library and release, or empty
  std::string error_bound;               // of a decoded value, with the defaults
  std::vector<std::string> constraints;  // on the tensor, with the defaults; a sentence each
  std::vector<OverrideInfo> overrides;
};

// All presets, the most used first. Lives as long as the program.
std::span<const PresetInfo> AllPresets();

// Bits for one element of an endless tensor, scales included.
double BitsPerElement(const Scheme& scheme);

}  // namespace quantd
