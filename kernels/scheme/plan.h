// From scheme, type and shape to units, passes and segments. The only size arithmetic of the project is here and in
// batch_layout.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/base/data_type.h"
#include "kernels/scheme/recipe.h"
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
inline constexpr std::string_view kZeroPointsSegment = "zero_points";
inline constexpr std::string_view kGlobalScaleSegment = "global_scale";
// int64 rows and columns, as compressed-tensors stores them beside packed words. Dequantize does not need it.
inline constexpr std::string_view kWeightShapeSegment = "weight_shape";
// ggml: codes and scales of 32 elements in one block.
inline constexpr std::string_view kBlocksSegment = "blocks";
// Of Quantize, one float32 for each channel of the last axis: what the values are multiplied by first, and how much
// their errors count.
inline constexpr std::string_view kSmoothingFactorsSegment = "smoothing_factors";
inline constexpr std::string_view kImportanceSegment = "importance";
inline constexpr uint64_t kChannelsMax = uint64_t{1} << 18;
// float32 absmax of every block, kept in the spool between the two passes of a double quantization; never on the wire.
inline constexpr std::string_view kSpooledScalesSegment = "spooled_scales";
// The values themselves, kept in the spool until a statistic of the whole tensor is known; never on the wire.
inline constexpr std::string_view kSpooledValuesSegment = "spooled_values";

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
  std::optional<float> offset;        // double quantization
  std::optional<float> amax;          // largest magnitude
  std::optional<float> min, max;      // asymmetric schemes
  std::optional<float> global_scale;  // NVFP4

  bool operator==(const KnownStatistics&) const = default;
};

// Which arrays over the channels of the last axis Quantize reads beside the values.
struct ChannelArrays {
  bool smoothing_factors = false;
  bool importance = false;

  bool operator==(const ChannelArrays&) const = default;
};

// What a pass over the values found in them, finite ones only.
struct ValueRange {
  float amax = 0;
  float lowest = 0;   // at most 0
  float highest = 0;  // at least 0
};

// What all units of a tensor share once its statistics are known. What the scheme does not use is 0.
struct TensorParameters {
  float offset = 0;
  float global_scale = 0;
  RunScale scale{};  // grouping kTensor
};

// What a scheme does to one tensor.
//
// A unit is the smallest independent run of elements: a block or group, with double quantization a nested block of
// them, a row, a band of rows as high as a tile, or 8 rows (the zero points of compressed-tensors are packed down the
// columns). Unit u owns elements [u · unit_elements, (u + 1) · unit_elements) and the bytes [u · unit_bytes, (u + 1) ·
// unit_bytes) of each segment; the last unit ends where the tensor and the segment end.
//
// Quantize that needs a statistic of the whole tensor which the caller does not give has two passes over the same
// units. Double quantization: the first writes codes and float32 scales, which are spooled; the second reads them and
// writes scales and nested_scales. Otherwise: the first spools the values and finds their range, the second reads them
// and writes everything. Everything else has one pass.
struct Plan {
  Scheme scheme;
  Direction direction{};
  DataType values_dtype{};
  std::vector<uint64_t> shape;
  uint64_t element_count = 0;
  uint64_t unit_elements = 0;
  // The tensor as two dimensions: the last extent, and the product of the others.
  uint64_t rows = 0;
  uint64_t columns = 0;
  uint64_t run_elements = 0;  // that lie in a row one after another and share a scale; a row's last run may be shorter
  uint64_t unit_rows = 0;     // 0: units are runs of the flattened tensor
  uint64_t row_code_bytes = 0;  // of a row of codes, where units are rows
  Recipe recipe;
  KnownStatistics known;
  ChannelArrays channel_arrays;
  std::vector<Pass> passes;  // 1 or 2

  uint64_t unit_count() const;
  // Elements that units [begin, end) own.
  uint64_t ElementsOf(uint64_t begin_unit, uint64_t end_unit) const;
  // Bytes [first, second) of the segment that units [begin, end) own. The segment must be a per-unit one of this plan.
  std::pair<uint64_t, uint64_t> BytesOf(const SegmentLayout& segment, uint64_t begin_unit, uint64_t end_unit) const;
  // Of the last axis.
  uint64_t channel_count() const { return shape.empty() ? 1 : shape.back(); }
  // What no other processor has code for.
  bool IsForCpuOnly() const {
    return channel_arrays.smoothing_factors || channel_arrays.importance || recipe.searches_range;
  }
  // Segments that travel, in the order of quantd.v1.Accept: of the whole tensor first for inputs, last for outputs.
  std::vector<SegmentLayout> WireInputs() const;
  std::vector<SegmentLayout> WireOutputs() const;
  // A scale for each run, in a segment or the spool; else there is one for the tensor, or none, or it lies in blocks.
  bool HasScalePerRun() const;
  // Quantize needs the range of all values, and the caller did not give it.
  bool NeedsRange() const;
  // True if a statistic of the whole tensor must be found before the second pass.
  bool NeedsSpool() const { return passes.size() > 1; }
  // Bytes that the spool must hold, 0 without one.
  uint64_t SpoolBytes() const;
};

// What the units share: from what the caller gave, else from what the first pass found. `offset` is the mean of all
// scales (kernels/scheme/scale_mean.h) and counts only where the caller gave none.
TensorParameters ParametersOf(const Plan& plan, const ValueRange& found, float offset);

// The bytes of an output segment that belongs to the whole tensor.
std::vector<std::byte> WholeTensorBytes(const Plan& plan, const SegmentLayout& segment,
                                        const TensorParameters& parameters);

// The parameters that Dequantize reads from its whole-tensor inputs: bytes of those segments by their index in
// passes[0].inputs, null for the others.
TensorParameters ParametersFrom(const Plan& plan, std::span<const std::byte* const> inputs);

// Checks type, rank, shape and size, and plans the work.
// INVALID_ARGUMENT with reason INVALID_DTYPE, INVALID_SHAPE, UNUSED_STATISTIC (also of an importance that no search
// weighs errors with) or INVALID_STATISTIC.
absl::StatusOr<Plan> MakePlan(const Scheme& scheme, Direction direction, DataType values_dtype,
                              std::span<const uint64_t> shape, const KnownStatistics& known = {},
                              const ChannelArrays& channel_arrays = {});

// Whether the array may be used: factors finite and above 0, importance in [0, kImportanceMax]. INVALID_ARGUMENT with
// reason INVALID_STATISTIC names the first channel that may not.
absl::Status CheckChannelArray(std::string_view segment, std::span<const std::byte> bytes);
// Errors weighted by more could be infinite; only ratios matter.
inline constexpr float kImportanceMax = 0x1p64f;

// Units of a range of elements. `begin` and `end` must be multiples of the unit or the tensor's end, begin <= end.
// INVALID_ARGUMENT with reason UNALIGNED_RANGE (the message names the unit) or, where a statistic of the whole tensor
// is missing, STATISTIC_NEEDED.
struct UnitRange {
  uint64_t begin = 0;
  uint64_t end = 0;
};
absl::StatusOr<UnitRange> UnitsOf(const Plan& plan, uint64_t begin_element, uint64_t end_element);

}  // namespace quantd
