#include "client/cpp/tensor_task.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "client/cpp/wire_convert.h"
#include "kernels/base/checked_math.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/base/status_macros.h"
#include "kernels/scheme/plan.h"

namespace quantd {
namespace {

// A dequantization of at most so many bytes in and out is one batch, whose segments may go in any order.
constexpr uint64_t kOneBatchBytes = 512u << 10;

// Segments whose place in a batch is known without the server: those of the whole tensor, then the others.
constexpr std::string_view kKnownOrder[] = {kOffsetSegment, kGlobalScaleSegment, kNestedScalesSegment,
                                            kScalesSegment, kZeroPointsSegment,  kCodesSegment,
                                            kBlocksSegment};

size_t PlaceOf(const std::string& segment) {
  return std::find(std::begin(kKnownOrder), std::end(kKnownOrder), segment) - std::begin(kKnownOrder);
}

absl::Status CheckOptions(const CallOptions& options) {
  if (options.frame_data_bytes >= 1 && options.frame_data_bytes <= wire::kFrameDataBytesMax) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("CallOptions.frame_data_bytes must be 1 to ", wire::kFrameDataBytesMax, "."));
}

// Two sources of the same array.
absl::Status CheckOneSource(const CallOptions& options) {
  const bool two = (!options.smoothing_factors.empty() && options.calibrated_smoothing.has_value()) ||
                   (!options.importance.empty() && options.calibrated_importance.has_value());
  if (!two) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "CallOptions has an array over the channels and a session that it is to be made of. Give one of them.");
}

// They go before the values.
void AddChannelArrays(const CallOptions& options, TensorTask& task) {
  if (options.calibrated_smoothing.has_value()) Fill(*options.calibrated_smoothing, *task.header.mutable_smoothing());
  if (options.calibrated_importance.has_value())
    Fill(*options.calibrated_importance, *task.header.mutable_importance());
  if (!options.smoothing_factors.empty()) {
    task.header.mutable_smoothing();
    task.inputs.push_back({std::string(kSmoothingFactorsSegment), std::as_bytes(options.smoothing_factors), nullptr});
  }
  if (!options.importance.empty()) {
    task.header.mutable_importance();
    task.inputs.push_back({std::string(kImportanceSegment), std::as_bytes(options.importance), nullptr});
  }
}

absl::StatusOr<uint64_t> ValuesBytes(DataType dtype, const std::vector<uint64_t>& shape) {
  if (!DataTypeNumbered(static_cast<int>(dtype)).has_value() || !InfoOf(dtype).is_float) {
    return InvalidArgument(reason::kInvalidDtype, "The tensor's type is no float. Give float32, float16 or bfloat16.");
  }
  const bool empty = std::find(shape.begin(), shape.end(), 0u) != shape.end();
  std::optional<uint64_t> bytes = empty ? 0 : SizeBytes(dtype);
  for (uint64_t extent : shape) bytes = bytes.has_value() ? CheckedMul(*bytes, extent) : std::nullopt;
  if (bytes.has_value() && *bytes <= kTensorBytesMax) return *bytes;
  return InvalidArgument(reason::kInvalidShape,
                         absl::StrCat("The tensor has more than ", kTensorBytesMax, " bytes. Split it."));
}

}  // namespace

absl::StatusOr<TensorTask> QuantizeTask(const TensorView& tensor, const SchemeRequest& scheme,
                                        const CallOptions& options) {
  QUANTD_RETURN_IF_ERROR(CheckOptions(options));
  QUANTD_RETURN_IF_ERROR(CheckOneSource(options));
  QUANTD_ASSIGN_OR_RETURN(const uint64_t values_bytes, ValuesBytes(tensor.dtype, tensor.shape));
  if (values_bytes != tensor.values.size()) {
    return InvalidArgument(reason::kInvalidShape,
                           absl::StrCat("Shape and type make ", values_bytes, " bytes, but the tensor's values have ",
                                        tensor.values.size(), "."));
  }
  TensorTask task;
  task.header = MakeHeader(tensor.name, tensor.dtype, tensor.shape, scheme, options);
  FillStatistics(options.statistics, task.header);
  task.header.set_error_metrics(options.error_metrics);
  if (options.calibration.has_value()) Fill(*options.calibration, *task.header.mutable_calibration());
  AddChannelArrays(options, task);
  task.inputs.push_back({std::string(kValuesSegment), tensor.values, options.memory_owner});
  task.window_before_accept_bytes = kInitialWindowBytes;
  task.frame_data_bytes = options.frame_data_bytes;
  return task;
}

absl::StatusOr<TensorTask> CalibrateTask(const TensorView& tensor, const CalibrationContribution& contribution,
                                         const CallOptions& options) {
  CallOptions plain = options;
  plain.statistics = {};
  plain.calibration.reset();
  plain.smoothing_factors = plain.importance = {};
  plain.calibrated_smoothing.reset();
  plain.calibrated_importance.reset();
  plain.error_metrics = false;
  QUANTD_ASSIGN_OR_RETURN(TensorTask task, QuantizeTask(tensor, {}, plain));
  task.header.clear_scheme();
  Fill(contribution, *task.header.mutable_contribution());
  return task;
}

absl::StatusOr<TensorTask> DequantizeTask(const QuantizedTensorView& tensor, DataType dtype,
                                          const CallOptions& options) {
  QUANTD_RETURN_IF_ERROR(CheckOptions(options));
  QUANTD_ASSIGN_OR_RETURN(const uint64_t values_bytes, ValuesBytes(dtype, tensor.shape));
  TensorTask task;
  task.header = MakeHeader(tensor.name, dtype, tensor.shape, tensor.scheme, options);
  task.values_bytes = values_bytes;
  task.frame_data_bytes = options.frame_data_bytes;
  uint64_t job_bytes = values_bytes;
  bool all_known = true;
  for (const SegmentView& segment : tensor.segments) {
    if (segment.name == kWeightShapeSegment) continue;  // the shape says it
    task.inputs.push_back({segment.name, segment.bytes, options.memory_owner});
    job_bytes += segment.bytes.size();
    all_known = all_known && PlaceOf(segment.name) < std::size(kKnownOrder);
  }
  std::stable_sort(task.inputs.begin(), task.inputs.end(),
                   [](const auto& a, const auto& b) { return PlaceOf(a.name) < PlaceOf(b.name); });
  if (all_known && job_bytes <= kOneBatchBytes) task.window_before_accept_bytes = kInitialWindowBytes;
  return task;
}

}  // namespace quantd
