// From scheme, type and shape to units, passes and segments. The only size arithmetic of the project is here and in
// batch_layout.h.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/base/data_type.h"
#include "kernels/scheme/scheme.h"

namespace quantd {

inline constexpr uint64_t kTensorBytesMax = uint64_t{1} << 40;
inline constexpr size_t kRankMax = 16;

enum class Direction : uint8_t { kQuantize, kDequantize };

// The float tensor itself, as a segment.
inline constexpr std::string_view kValuesSegment = "values";
inline constexpr std::string_view kCodesSegment = "codes";
inline constexpr std::string_view kScalesSegment = "scales";
inline constexpr std::string_view kNestedScalesSegment = "nested_scales";
inline constexpr std::string_view kOffsetSegment = "offset";
// float32 absmax of every block, kept in the spool between the two passes of a double quantization; never on the wire.
inline constexpr std::string_view kSpooledScalesSegment = "spooled_scales";

// One array that a pass reads or writes.
struct SegmentLayout {
  std::string name;
  DataType dtype{};
  std::vector<uint64_t> shape;  // of the whole tensor's segment
  uint64_t bytes = 0;           // of the whole tensor's segment
  // Bytes that a full unit owns; the last unit of a tensor may own fewer. 0: the segment belongs to the whole tensor (a
  // few bytes).
  uint64_t unit_bytes = 0;

  bool whole_tensor() const { return unit_bytes == 0; }
};

// Work that can be done unit by unit, in any order and grouping.
struct Pass {
  std::vector<SegmentLayout> inputs;
  std::vector<SegmentLayout> outputs;
};

// Statistics of the whole tensor that the caller gives.
struct KnownStatistics {
  std::optional<float> offset;
};

// What a scheme does to one tensor.
//
// A unit is the smallest independent run of elements: block, or block · nested block with double quantization. Unit u
// owns elements [u · unit_elements, (u + 1) · unit_elements) and the bytes [u · unit_bytes, (u + 1) · unit_bytes) of
// each segment; the last unit ends where the tensor and the segment end.
//
// Quantize with double quantization and no known offset has two passes over the same units: the first writes codes and
// the float32 scales, which are spooled; the second reads them, with the offset, and writes scales and nested_scales.
// Everything else has one pass.
struct Plan {
  Scheme scheme;
  Direction direction{};
  DataType values_dtype{};
  std::vector<uint64_t> shape;
  uint64_t element_count = 0;
  uint64_t unit_elements = 0;
  KnownStatistics known;
  std::vector<Pass> passes;  // 1 or 2

  uint64_t unit_count() const;
  // Elements that units [begin, end) own.
  uint64_t ElementsOf(uint64_t begin_unit, uint64_t end_unit) const;
  // Bytes [first, second) of the segment that units [begin, end) own. The segment must be a per-unit one of this plan.
  std::pair<uint64_t, uint64_t> BytesOf(const SegmentLayout& segment, uint64_t begin_unit, uint64_t end_unit) const;
  // Segments that travel, in the order of quantd.v1.Accept: of the whole tensor first for inputs, last for outputs.
  std::vector<SegmentLayout> WireInputs() const;
  std::vector<SegmentLayout> WireOutputs() const;
  // True if the offset must be computed from all scales before the second pass.
  bool NeedsSpool() const { return passes.size() > 1; }
  // Bytes that the spool must hold, 0 without one.
  uint64_t SpoolBytes() const;
};

// Checks type, rank, shape and size, and plans the work.
// INVALID_ARGUMENT with reason INVALID_DTYPE, INVALID_SHAPE, UNUSED_STATISTIC or INVALID_STATISTIC.
absl::StatusOr<Plan> MakePlan(const Scheme& scheme, Direction direction, DataType values_dtype,
                              std::span<const uint64_t> shape, const KnownStatistics& known = {});

// Units of a range of elements. `begin` and `end` must be multiples of the unit or the tensor's end, begin <= end.
// INVALID_ARGUMENT with reason UNALIGNED_RANGE (the message names the unit) or, where a statistic of the whole tensor
// is missing, STATISTIC_NEEDED.
struct UnitRange {
  uint64_t begin = 0;
  uint64_t end = 0;
};
absl::StatusOr<UnitRange> UnitsOf(const Plan& plan, uint64_t begin_element, uint64_t end_element);

}  // namespace quantd
