#include "kernels/cuda/cuda_backend.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/base/status_macros.h"
#include "kernels/cuda/cuda_status.h"
#include "kernels/cuda/device_jobs.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/format/format_list.h"

namespace quantd {
namespace {

constexpr uint64_t kAlignmentBytes = 256;
constexpr uint64_t Aligned(uint64_t bytes) { return (bytes + kAlignmentBytes - 1) / kAlignmentBytes * kAlignmentBytes; }

// Parts of one allocation, laid out before it is made.
class Layout {
 public:
  uint64_t Add(uint64_t bytes) { return std::exchange(bytes_, bytes_ + Aligned(bytes)); }
  uint64_t bytes() const { return bytes_; }

 private:
  uint64_t bytes_ = 0;
};

struct Workspace {
  Stream stream;
  DeviceBuffer memory;
};

// What of a plan's segments a batch has on the device.
struct Segment {
  uint64_t bytes = 0;
  uint64_t offset = 0;
  const std::byte* from = nullptr;  // of an input
  std::byte* to = nullptr;          // of an output
};

bool HasKernels(const Plan& plan, const UnitBatch& batch) {
  if (batch.error_metrics || plan.scheme.double_quant || plan.recipe.method == ScaleMethod::kGgml) return false;
  // The first of two passes only finds a range.
  return batch.pass + 1 == plan.passes.size();
}

RunGeometry GeometryOf(const Plan& plan, uint64_t element_count) {
  if (plan.unit_rows > 0) {
    return {.rows = plan.columns == 0 ? 0 : element_count / plan.columns,
            .row_elements = plan.columns,
            .run_elements = plan.run_elements,
            .band_rows = plan.scheme.grouping == Grouping::kTile ? plan.unit_rows : 1,
            .row_code_bytes = plan.row_code_bytes};
  }
  return {.rows = 1,
          .row_elements = element_count,
          .run_elements = plan.HasScalePerRun() ? plan.run_elements : element_count,
          .band_rows = 1,
          .row_code_bytes = 0};
}

// One call of Run. Copies and kernels are queued on the workspace's stream; Finish waits for them.
class Operation {
 public:
  Operation(const Plan& plan, const UnitBatch& batch, Workspace& workspace)
      : plan_(plan),
        recipe_(plan.recipe),
        batch_(batch),
        workspace_(workspace),
        stream_(workspace.stream.get()),
        element_count_(plan.ElementsOf(batch.begin_unit, batch.end_unit)),
        runs_(GeometryOf(plan, element_count_)) {
    const Pass& pass = plan.passes[batch.pass];
    for (size_t i = 0; i < pass.inputs.size(); ++i) AddSegment(pass.inputs[i], batch.inputs[i], nullptr);
    for (size_t i = 0; i < pass.outputs.size(); ++i) AddSegment(pass.outputs[i], nullptr, batch.outputs[i]);
    const uint64_t run_bytes = std::max<uint64_t>(runs_.run_count(), 1) * sizeof(float);
    searched_ = plan.HasScalePerRun() ? runs_ : SearchGeometry();
    const uint64_t searched_bytes = std::max<uint64_t>(searched_.run_count(), 1) * sizeof(float);
    absmax_ = layout_.Add(searched_bytes);
    lowest_ = layout_.Add(searched_bytes);
    highest_ = layout_.Add(searched_bytes);
    factors_ = layout_.Add(run_bytes);
    zeros_ = layout_.Add(run_bytes);
    findings_ = layout_.Add(sizeof(DeviceFindings));
  }
  // After a failure copies may still be under way, from and to the caller's memory.
  ~Operation() { cudaStreamSynchronize(stream_); }
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

  // Sets `has_nonfinite` where the batch is for another backend to do again.
  absl::Status Quantize(BatchResult& result, bool& has_nonfinite) {
    QUANTD_RETURN_IF_ERROR(CopyInputs());
    QUANTD_RETURN_IF_ERROR(StatusOf(cudaMemsetAsync(At(findings_), 0, sizeof(DeviceFindings), stream_), "clearing"));
    FindRangeLaunch(plan_.values_dtype)({.values = Data(kInputValues),
                                         .runs = searched_,
                                         .absmax = Floats(absmax_),
                                         .lowest = recipe_.has_zero_points ? Floats(lowest_) : nullptr,
                                         .highest = recipe_.has_zero_points ? Floats(highest_) : nullptr,
                                         .findings = reinterpret_cast<DeviceFindings*>(At(findings_))},
                                        stream_);
    QUANTD_RETURN_IF_ERROR(MakeScales());
    QUANTD_RETURN_IF_ERROR(Encode());
    QUANTD_RETURN_IF_ERROR(CopyBack(&found_, At(findings_), sizeof(found_)));
    QUANTD_RETURN_IF_ERROR(CopyOutputs());
    QUANTD_RETURN_IF_ERROR(Finish());
    constexpr uint32_t kInfinity = 0x7f800000;
    has_nonfinite = found_.amax_bits >= kInfinity;
    result.range.amax = std::bit_cast<float>(found_.amax_bits);
    if (found_.lowest_bits != 0) result.range.lowest = -std::bit_cast<float>(found_.lowest_bits);
    result.range.highest = std::bit_cast<float>(found_.highest_bits);
    return absl::OkStatus();
  }

  absl::Status Dequantize() {
    QUANTD_RETURN_IF_ERROR(CopyInputs());
    const float* scales = nullptr;
    const float* zeros = nullptr;
    const int8_t* zero_points = nullptr;
    TensorParameters parameters = ParametersFrom(plan_, batch_.inputs);
    if (plan_.HasScalePerRun()) {
      ScaleParameters scale_parameters = recipe_.scale;
      scale_parameters.global_scale = parameters.global_scale;
      FindRestoreScaleLaunch(recipe_.method, recipe_.scale_rounding)({.run_count = runs_.run_count(),
                                                                      .stored = DataOf(kScalesSegment),
                                                                      .parameters = scale_parameters,
                                                                      .scales = Floats(factors_)},
                                                                     stream_);
      scales = Floats(factors_);
      if (recipe_.packed_zero_points) {
        LaunchUnpackZeroPoints(ZeroPointsJob(), stream_);
        zeros = Floats(zeros_);
      } else if (recipe_.has_zero_points) {
        zero_points = reinterpret_cast<const int8_t*>(DataOf(kZeroPointsSegment));
      }
    } else if (recipe_.method != ScaleMethod::kNone) {
      QUANTD_RETURN_IF_ERROR(CopyTensorScale(parameters.scale));
      scales = Floats(factors_);
      if (recipe_.has_zero_points) zeros = Floats(zeros_);
    }
    FindDecodeLaunch(recipe_.restore, recipe_.element, plan_.values_dtype)({.codes = DataOf(kCodesSegment),
                                                                            .runs = runs_,
                                                                            .scales = scales,
                                                                            .zeros = zeros,
                                                                            .zero_points = zero_points,
                                                                            .code_xor = recipe_.code_xor,
                                                                            .values = DataOf(kValuesSegment)},
                                                                           stream_);
    QUANTD_RETURN_IF_ERROR(CopyOutputs());
    return Finish();
  }

  absl::Status Prepare() { return workspace_.memory.Reserve(layout_.bytes()); }

 private:
  static constexpr size_t kInputValues = 0;

  // Of a tensor that has no runs of its own the range is found in pieces.
  RunGeometry SearchGeometry() const {
    constexpr uint64_t kPieceElements = 4096;
    RunGeometry pieces = runs_;
    pieces.run_elements = kPieceElements;
    return pieces;
  }

  void AddSegment(const SegmentLayout& segment, const std::byte* from, std::byte* to) {
    Segment added;
    if (!segment.whole_tensor()) {
      const auto [begin, end] = plan_.BytesOf(segment, batch_.begin_unit, batch_.end_unit);
      added = {.bytes = end - begin, .offset = layout_.Add(end - begin), .from = from, .to = to};
    }
    names_.push_back(segment.name);
    segments_.push_back(added);
  }

  std::byte* At(uint64_t offset) const { return workspace_.memory.data() + offset; }
  float* Floats(uint64_t offset) const { return reinterpret_cast<float*>(At(offset)); }
  std::byte* Data(size_t segment) const { return At(segments_[segment].offset); }
  // Null: the pass has no such segment.
  std::byte* DataOf(std::string_view name) const {
    for (size_t i = 0; i < names_.size(); ++i) {
      if (names_[i] == name && (segments_[i].from != nullptr || segments_[i].to != nullptr)) return Data(i);
    }
    return nullptr;
  }
  DevicePackJob ZeroPointsJob() const {
    return {.rows = runs_.rows,
            .row_runs = runs_.row_runs(),
            .zeros = Floats(zeros_),
            .words = reinterpret_cast<uint32_t*>(DataOf(kZeroPointsSegment))};
  }

  absl::Status CopyInputs() {
    for (const Segment& segment : segments_) {
      if (segment.from == nullptr || segment.bytes == 0) continue;
      QUANTD_RETURN_IF_ERROR(
          StatusOf(cudaMemcpyAsync(At(segment.offset), segment.from, segment.bytes, cudaMemcpyHostToDevice, stream_),
                   "copying a segment to the GPU"));
    }
    return absl::OkStatus();
  }
  absl::Status CopyOutputs() {
    for (const Segment& segment : segments_) {
      if (segment.to == nullptr || segment.bytes == 0) continue;
      QUANTD_RETURN_IF_ERROR(CopyBack(segment.to, At(segment.offset), segment.bytes));
    }
    return absl::OkStatus();
  }
  absl::Status CopyBack(void* to, const std::byte* from, uint64_t bytes) {
    return StatusOf(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_),
                    "copying a segment from the GPU");
  }
  absl::Status Finish() {
    QUANTD_RETURN_IF_ERROR(StatusOf(cudaGetLastError(), "launching a kernel"));
    return StatusOf(cudaStreamSynchronize(stream_), "computing on the GPU");
  }

  absl::Status CopyTensorScale(const RunScale& scale) {
    QUANTD_RETURN_IF_ERROR(
        StatusOf(cudaMemcpyAsync(At(factors_), &scale.factor, sizeof(float), cudaMemcpyHostToDevice, stream_),
                 "copying a scale to the GPU"));
    return StatusOf(cudaMemcpyAsync(At(zeros_), &scale.zero, sizeof(float), cudaMemcpyHostToDevice, stream_),
                    "copying a zero point to the GPU");
  }

  absl::Status MakeScales() {
    if (!plan_.HasScalePerRun()) {
      RunScale scale = batch_.parameters.scale;
      if (recipe_.method == ScaleMethod::kNone) scale.factor = 1;
      return CopyTensorScale(scale);
    }
    ScaleParameters parameters = recipe_.scale;
    parameters.global_scale = batch_.parameters.global_scale;
    const bool asymmetric = recipe_.has_zero_points;
    FindScaleLaunch(recipe_.method, recipe_.scale_rounding)(
        {.run_count = runs_.run_count(),
         .absmax = Floats(absmax_),
         .lowest = asymmetric ? Floats(lowest_) : nullptr,
         .highest = asymmetric ? Floats(highest_) : nullptr,
         .parameters = parameters,
         .stored = DataOf(kScalesSegment),
         .factors = Floats(factors_),
         .zeros = asymmetric ? Floats(zeros_) : nullptr,
         .zero_points = asymmetric && !recipe_.packed_zero_points
                            ? reinterpret_cast<int8_t*>(DataOf(kZeroPointsSegment))
                            : nullptr},
        stream_);
    if (recipe_.packed_zero_points) LaunchPackZeroPoints(ZeroPointsJob(), stream_);
    return absl::OkStatus();
  }

  absl::Status Encode() {
    if (recipe_.packed_words) {
      // Rows are padded with zeros.
      QUANTD_RETURN_IF_ERROR(StatusOf(
          cudaMemsetAsync(DataOf(kCodesSegment), 0, runs_.rows * runs_.row_code_bytes, stream_), "clearing codes"));
    }
    FindEncodeLaunch(recipe_.transform, recipe_.element, plan_.values_dtype)(
        {.values = Data(kInputValues),
         .runs = runs_,
         .factors = Floats(factors_),
         .zeros = recipe_.has_zero_points ? Floats(zeros_) : nullptr,
         .lowest = recipe_.lowest,
         .highest = recipe_.highest,
         .code_xor = recipe_.code_xor,
         .ieee_overflow = recipe_.ieee_overflow,
         .unsigned_zero = recipe_.unsigned_zero,
         .codes = DataOf(kCodesSegment)},
        stream_);
    return absl::OkStatus();
  }

  const Plan& plan_;
  const Recipe& recipe_;
  const UnitBatch& batch_;
  Workspace& workspace_;
  cudaStream_t stream_;
  uint64_t element_count_;
  RunGeometry runs_;
  RunGeometry searched_{};
  Layout layout_;
  std::vector<std::string_view> names_;  // of the segments, inputs first
  std::vector<Segment> segments_;
  uint64_t absmax_ = 0;
  uint64_t lowest_ = 0;
  uint64_t highest_ = 0;
  uint64_t factors_ = 0;
  uint64_t zeros_ = 0;
  uint64_t findings_ = 0;
  DeviceFindings found_{};
};

class CudaBackend final : public Backend {
 public:
  CudaBackend(int device, std::string target, std::unique_ptr<Backend> rest)
      : device_(device), target_(std::move(target)), rest_(std::move(rest)) {}

  std::string_view name() const override { return "cuda"; }
  std::string_view target() const override { return target_; }

  absl::StatusOr<BatchResult> Run(const Plan& plan, const UnitBatch& batch,
                                  const std::atomic<bool>& cancelled) override {
    if (!HasKernels(plan, batch) || batch.begin_unit == batch.end_unit) return rest_->Run(plan, batch, cancelled);
    if (cancelled.load(std::memory_order_relaxed)) return absl::CancelledError("the tensor's work was cancelled");
    QUANTD_RETURN_IF_ERROR(StatusOf(cudaSetDevice(device_), "choosing the GPU"));
    auto workspace = Take();
    if (!workspace.ok()) return workspace.status();
    BatchResult result;
    bool has_nonfinite = false;
    absl::Status status = RunOn(plan, batch, **workspace, result, has_nonfinite);
    GiveBack(*std::move(workspace));
    if (!status.ok()) return status;
    if (has_nonfinite) return rest_->Run(plan, batch, cancelled);
    return result;
  }

 private:
  static absl::Status RunOn(const Plan& plan, const UnitBatch& batch, Workspace& workspace, BatchResult& result,
                            bool& has_nonfinite) {
    Operation operation(plan, batch, workspace);
    QUANTD_RETURN_IF_ERROR(operation.Prepare());
    return plan.direction == Direction::kQuantize ? operation.Quantize(result, has_nonfinite) : operation.Dequantize();
  }

  absl::StatusOr<std::unique_ptr<Workspace>> Take() {
    {
      const std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        auto workspace = std::move(idle_.back());
        idle_.pop_back();
        return workspace;
      }
    }
    auto stream = Stream::Make();
    if (!stream.ok()) return stream.status();
    auto workspace = std::make_unique<Workspace>();
    workspace->stream = *std::move(stream);
    return workspace;
  }
  void GiveBack(std::unique_ptr<Workspace> workspace) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(workspace));
  }

  int device_;
  std::string target_;
  std::unique_ptr<Backend> rest_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Workspace>> idle_;
};

}  // namespace

EncodeLaunch FindEncodeLaunch(Transform transform, Element element, DataType values) {
  switch (InfoOf(element).kind) {
    case ElementKind::kLevels:
      return FindEncodeLaunchOfLevels(transform, element, values);
    case ElementKind::kMiniFloat:
      return FindEncodeLaunchOfMiniFloats(transform, element, values);
    case ElementKind::kInteger:
      return FindEncodeLaunchOfIntegers(transform, element, values);
    case ElementKind::kCast:
      return FindEncodeLaunchOfCasts(transform, element, values);
  }
  return nullptr;
}

int CudaDeviceCount() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();
    return 0;
  }
  return count;
}

absl::StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(int device, std::unique_ptr<Backend> rest) {
  cudaDeviceProp properties{};
  QUANTD_RETURN_IF_ERROR(StatusOf(cudaGetDeviceProperties(&properties, device), "looking for the GPU"));
  return std::make_unique<CudaBackend>(device, absl::StrCat("sm_", properties.major, properties.minor),
                                       std::move(rest));
}

}  // namespace quantd
