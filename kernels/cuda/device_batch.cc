#include "kernels/cuda/device_batch.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/base/status_macros.h"
#include "kernels/cuda/cuda_status.h"
#include "kernels/cuda/fused_geometry.h"
#include "kernels/cuda/shared_launches.h"
#include "kernels/format/format_list.h"

namespace quantd {
namespace {

constexpr uint64_t kAlignmentBytes = 256;
constexpr uint64_t kPieceElements = 4096;  // of a search for the range of a tensor

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

// Of a tensor that has no runs of its own the range is found in pieces.
RunGeometry InPieces(RunGeometry runs) {
  runs.run_elements = kPieceElements;
  return runs;
}

// What lies where in a batch's scratch memory.
struct Scratch {
  Scratch(const Plan& plan, uint64_t element_count) {
    const RunGeometry runs = GeometryOf(plan, element_count);
    const uint64_t run_count = std::max<uint64_t>(runs.run_count(), 1);
    const uint64_t searched = std::max(run_count, InPieces(runs).run_count());
    absmax = Add(searched * sizeof(float));
    lowest = Add(searched * sizeof(float));
    highest = Add(searched * sizeof(float));
    factors = Add(run_count * sizeof(float));
    block_scales = Add(plan.scheme.double_quant ? run_count * sizeof(float) : 0);
    zeros = Add(run_count * sizeof(float));
    zero_points = Add(plan.recipe.packed_zero_points ? run_count : 0);
  }

  uint64_t bytes = 0;
  uint64_t absmax;
  uint64_t lowest;
  uint64_t highest;
  uint64_t factors;
  uint64_t block_scales;  // of a double quantization, before they are coded
  uint64_t zeros;
  uint64_t zero_points;  // that are packed, before or after that

 private:
  uint64_t Add(uint64_t more) {
    return std::exchange(bytes, bytes + (more + kAlignmentBytes - 1) / kAlignmentBytes * kAlignmentBytes);
  }
};

bool IsAligned(const std::byte* memory) { return reinterpret_cast<uintptr_t>(memory) % 16 == 0; }

class BatchLauncher {
 public:
  BatchLauncher(const DeviceBatch& batch, cudaStream_t stream)
      : batch_(batch),
        plan_(batch.plan),
        recipe_(batch.plan.recipe),
        pass_(batch.plan.passes[batch.pass]),
        stream_(stream),
        runs_(GeometryOf(batch.plan, batch.element_count)),
        scratch_(batch.plan, batch.element_count),
        bits_(InfoOf(recipe_.element).bits),
        scale_bytes_(SizeBytes(recipe_.scale_dtype)) {
    parameters_ = recipe_.scale;
    parameters_.global_scale = batch.parameters.global_scale;
  }

  // What fused kernels do, which several batches can have in one launch. The rest comes behind it.
  void AddFusedQuantize(FusedLaunches& launches) {
    if (Output(kSpooledValuesSegment) != nullptr || Input(kSpooledScalesSegment) != nullptr) return;
    std::byte* const spooled = Output(kSpooledScalesSegment);
    nests_ = plan_.scheme.double_quant && spooled == nullptr;
    stored_ = spooled != nullptr ? spooled : nests_ ? At(scratch_.block_scales) : Output(kScalesSegment);
    done_ = QuantizeFused(launches);
  }

  absl::Status QuantizeRest() {
    if (Output(kSpooledValuesSegment) != nullptr) {
      FindTensorRange();
      return absl::OkStatus();
    }
    if (std::byte* const spooled = Input(kSpooledScalesSegment)) {
      LaunchNestedEncode(NestedJob(reinterpret_cast<float*>(spooled)), stream_);
      return absl::OkStatus();
    }
    if (done_ < batch_.element_count) QUANTD_RETURN_IF_ERROR(QuantizeGenerically(done_));
    if (recipe_.packed_zero_points) LaunchPackZeroPoints(PackJob(Output(kZeroPointsSegment)), stream_);
    if (nests_) LaunchNestedEncode(NestedJob(Floats(scratch_.block_scales)), stream_);
    return absl::OkStatus();
  }

  void AddFusedDequantize(FusedDecodeLaunches& launches) {
    stored_ = Input(kScalesSegment);
    done_ = DequantizeFused(launches);
  }

  absl::Status DequantizeRest() {
    if (done_ == batch_.element_count) return absl::OkStatus();
    if (plan_.scheme.double_quant) LaunchNestedDecode(NestedJob(Floats(scratch_.block_scales)), stream_);
    return DequantizeGenerically(done_);
  }

 private:
  // ---- Where things are ----

  std::byte* At(uint64_t offset) const { return batch_.scratch + offset; }
  float* Floats(uint64_t offset) const { return reinterpret_cast<float*>(At(offset)); }
  int8_t* UnpackedZeroPoints() const { return reinterpret_cast<int8_t*>(At(scratch_.zero_points)); }
  static std::byte* Find(const std::vector<SegmentLayout>& segments, std::string_view name,
                         const std::array<std::byte*, kSegmentsMax>& memory) {
    for (size_t i = 0; i < segments.size(); ++i) {
      if (segments[i].name == name) return memory[i];
    }
    return nullptr;
  }
  std::byte* Input(std::string_view name) const { return Find(pass_.inputs, name, batch_.inputs); }
  std::byte* Output(std::string_view name) const { return Find(pass_.outputs, name, batch_.outputs); }
  std::byte* Values() const { return batch_.inputs[0]; }
  uint64_t ValueBytes(uint64_t elements) const { return elements * SizeBytes(plan_.values_dtype); }
  uint64_t CodeBytes(uint64_t elements) const { return elements * static_cast<uint64_t>(bits_) / 8; }

  DevicePackJob PackJob(std::byte* words) const {
    return {.rows = runs_.rows,
            .row_runs = runs_.row_runs(),
            .zero_points = UnpackedZeroPoints(),
            .words = reinterpret_cast<uint32_t*>(words)};
  }
  DeviceNestedJob NestedJob(float* scales) const {
    const bool quantizes = plan_.direction == Direction::kQuantize;
    return {.code = plan_.scheme.nested_code,
            .scale_count = runs_.run_count(),
            .scales = scales,
            .offset = batch_.parameters.offset,
            .codes = quantizes ? Output(kScalesSegment) : Input(kScalesSegment),
            .nested_scales =
                reinterpret_cast<float*>(quantizes ? Output(kNestedScalesSegment) : Input(kNestedScalesSegment)),
            .findings = batch_.findings};
  }

  // Elements from `begin` on, which lie behind the whole runs of a flat batch.
  RunGeometry RunsFrom(uint64_t begin) const {
    if (begin == 0) return runs_;
    RunGeometry rest = runs_;
    rest.rows = 1;
    rest.row_elements = batch_.element_count - begin;
    return rest;
  }
  uint64_t RunOf(uint64_t element) const { return plan_.HasScalePerRun() ? element / runs_.run_elements : 0; }

  // ---- Quantize ----

  // Elements from the first on that are done.
  uint64_t QuantizeFused(FusedLaunches& launches) {
    std::byte* const codes = Output(kCodesSegment);
    const FusedLaunch launch = FindFusedLaunch(recipe_.transform, recipe_.element, plan_.values_dtype);
    if (batch_.kernels == CudaKernels::kGeneric || launch == nullptr) return 0;
    if (!IsAligned(Values()) || !IsAligned(codes)) return 0;
    if (recipe_.method == ScaleMethod::kCompressedTensorsNvfp4 && !IsUsualGlobalScale(parameters_.global_scale))
      return 0;
    const bool has_scales = plan_.HasScalePerRun();
    const FusedGeometry geometry = FusedGeometryOf(runs_, bits_, has_scales);
    if (geometry.runs == 0) return 0;
    const bool nests = nests_ && CanNest(geometry, recipe_.element, batch_.element_count);
    if (nests) nests_ = false;
    const DeviceNestedJob nested = NestedJob(nullptr);
    launches.Add(
        launch, bits_,
        {.runs = runs_,
         .rules = {.method = has_scales ? recipe_.method : ScaleMethod::kNone,
                   .rounding = recipe_.scale_rounding,
                   .parameters = recipe_.scale,
                   .divisor_reciprocal = 1 / KnownDivisor(),
                   .lowest = recipe_.lowest,
                   .highest = recipe_.highest,
                   .code_xor = recipe_.code_xor,
                   .ieee_overflow = recipe_.ieee_overflow,
                   .unsigned_zero = recipe_.unsigned_zero,
                   .stored_bytes = static_cast<uint32_t>(plan_.scheme.double_quant ? sizeof(float) : scale_bytes_),
                   .nests = nests,
                   .nested_code = nested.code},
         .tensor = {.values = Values(),
                    .codes = codes,
                    .stored = stored_,
                    .zero_points = ZeroPoints(0),
                    .nested_codes = nested.codes,
                    .nested_scales = nested.nested_scales,
                    .findings = batch_.findings,
                    .factor = TensorScale().factor,
                    .zero = TensorScale().zero,
                    .global_scale = parameters_.global_scale,
                    .global_reciprocal = 1 / parameters_.global_scale,
                    .nested_offset = nested.offset},
         .policy = batch_.policy});
    return geometry.elements;
  }

  // Of FusedRules::divisor_reciprocal.
  float KnownDivisor() const {
    if (recipe_.method != ScaleMethod::kStrictAsymmetric) return parameters_.divisor;
    return (parameters_.highest_code - parameters_.lowest_code) / 2;
  }

  absl::Status QuantizeGenerically(uint64_t begin) {
    const RunGeometry rest = RunsFrom(begin);
    const uint64_t first_run = RunOf(begin);
    FindRanges(plan_.HasScalePerRun() ? rest : InPieces(rest), begin);
    if (plan_.HasScalePerRun()) {
      FindScaleLaunch(recipe_.method, recipe_.scale_rounding)(
          {.run_count = rest.run_count(),
           .absmax = Floats(scratch_.absmax),
           .lowest = recipe_.has_zero_points ? Floats(scratch_.lowest) : nullptr,
           .highest = recipe_.has_zero_points ? Floats(scratch_.highest) : nullptr,
           .parameters = parameters_,
           .stored = stored_ + first_run * (plan_.scheme.double_quant ? sizeof(float) : scale_bytes_),
           .factors = Floats(scratch_.factors),
           .zeros = recipe_.has_zero_points ? Floats(scratch_.zeros) + first_run : nullptr,
           .zero_points = ZeroPoints(first_run)},
          stream_);
    } else {
      QUANTD_RETURN_IF_ERROR(CopyTensorScale(TensorScale()));
    }
    std::byte* const codes = Output(kCodesSegment) + CodeBytes(begin);
    if (recipe_.packed_words) {
      // Rows are padded with zeros.
      QUANTD_RETURN_IF_ERROR(StatusOf(
          cudaMemsetAsync(codes, 0, rest.rows == 1 ? CodeBytes(rest.row_elements) : rest.rows * rest.row_code_bytes,
                          stream_),
          "clearing codes"));
    }
    FindEncodeLaunch(recipe_.transform, recipe_.element, plan_.values_dtype)(
        {.values = Values() + ValueBytes(begin),
         .runs = rest,
         .factors = Floats(scratch_.factors),
         .zeros = recipe_.has_zero_points ? Floats(scratch_.zeros) + first_run : nullptr,
         .lowest = recipe_.lowest,
         .highest = recipe_.highest,
         .code_xor = recipe_.code_xor,
         .ieee_overflow = recipe_.ieee_overflow,
         .unsigned_zero = recipe_.unsigned_zero,
         .codes = codes},
        stream_);
    return absl::OkStatus();
  }

  void FindRanges(const RunGeometry& runs, uint64_t begin) const {
    FindRangeLaunch(plan_.values_dtype)({.values = Values() + ValueBytes(begin),
                                         .runs = runs,
                                         .absmax = Floats(scratch_.absmax),
                                         .lowest = recipe_.has_zero_points ? Floats(scratch_.lowest) : nullptr,
                                         .highest = recipe_.has_zero_points ? Floats(scratch_.highest) : nullptr,
                                         .findings = batch_.findings},
                                        stream_);
  }

  void FindTensorRange() const {
    uint64_t done = 0;
    if (batch_.kernels == CudaKernels::kFused && IsAligned(Values())) {
      done = LaunchTensorRange({.values = Values(), .element_count = batch_.element_count, .findings = batch_.findings},
                               plan_.values_dtype, stream_);
    }
    if (done < batch_.element_count) FindRanges(InPieces(RunsFrom(done)), done);
  }

  // From a run on; null: there are none, or one of the tensor's.
  int8_t* ZeroPoints(uint64_t first_run) const {
    if (!recipe_.has_zero_points || !plan_.HasScalePerRun()) return nullptr;
    if (recipe_.packed_zero_points) return UnpackedZeroPoints() + first_run;
    return reinterpret_cast<int8_t*>(Output(kZeroPointsSegment)) + first_run;
  }

  // ---- Dequantize ----

  uint64_t DequantizeFused(FusedDecodeLaunches& launches) {
    const FusedDecodeLaunch launch = FindFusedDecodeLaunch(recipe_.restore, recipe_.element, plan_.values_dtype);
    const bool has_scales = plan_.HasScalePerRun();
    std::byte* const codes = Input(kCodesSegment);
    std::byte* const values = Output(kValuesSegment);
    if (batch_.kernels == CudaKernels::kGeneric || launch == nullptr || recipe_.method == ScaleMethod::kNone) return 0;
    if (plan_.scheme.double_quant && InfoOf(recipe_.element).kind != ElementKind::kLevels) return 0;
    if (!IsAligned(codes) || !IsAligned(values)) return 0;
    const FusedDecodeGeometry geometry = FusedDecodeGeometryOf(runs_, bits_, has_scales);
    if (geometry.elements == 0) return 0;
    const std::byte* const zero_points = Input(kZeroPointsSegment);
    launches.Add(launch, bits_,
                 {.runs = runs_,
                  .rules = {.method = has_scales ? recipe_.method : ScaleMethod::kNone,
                            .rounding = recipe_.scale_rounding,
                            .parameters = recipe_.scale,
                            .nests = plan_.scheme.double_quant,
                            .nested_code = plan_.scheme.nested_code,
                            .has_zero_points = has_scales && zero_points != nullptr && !recipe_.packed_zero_points,
                            .has_packed_zeros = zero_points != nullptr && recipe_.packed_zero_points,
                            .code_xor = recipe_.code_xor},
                  .tensor = {.codes = codes,
                             .values = values,
                             .stored = stored_,
                             .nested_scales = reinterpret_cast<const float*>(Input(kNestedScalesSegment)),
                             .zero_points = reinterpret_cast<const int8_t*>(zero_points),
                             .packed_zeros = reinterpret_cast<const uint32_t*>(zero_points),
                             .scale = TensorScale().factor,
                             .zero = recipe_.has_zero_points ? TensorScale().zero : 0.0f,
                             .global_scale = parameters_.global_scale,
                             .nested_offset = batch_.parameters.offset},
                  .policy = batch_.policy});
    return geometry.elements;
  }

  absl::Status DequantizeGenerically(uint64_t begin) {
    const bool has_scales = plan_.HasScalePerRun();
    const bool has_scale = recipe_.method != ScaleMethod::kNone;
    const uint64_t first_run = RunOf(begin);
    if (recipe_.packed_zero_points) LaunchUnpackZeroPoints(PackJob(Input(kZeroPointsSegment)), stream_);
    RunGeometry rest = RunsFrom(begin);
    // What is behind whole chunks is a part of one run, or of none.
    if (begin > 0) rest.run_elements = rest.row_elements;
    const float* zeros = recipe_.has_zero_points ? Floats(scratch_.zeros) + first_run : nullptr;
    const int8_t* zero_points = nullptr;
    const float* scales = has_scale ? Floats(scratch_.factors) : nullptr;
    if (plan_.scheme.double_quant) {
      scales = Floats(scratch_.block_scales) + first_run;
    } else if (has_scales) {
      FindRestoreScaleLaunch(recipe_.method, recipe_.scale_rounding)({.run_count = rest.run_count(),
                                                                      .stored = stored_ + first_run * scale_bytes_,
                                                                      .parameters = parameters_,
                                                                      .scales = Floats(scratch_.factors)},
                                                                     stream_);
      if (recipe_.has_zero_points) {
        zeros = nullptr;
        zero_points = (recipe_.packed_zero_points ? UnpackedZeroPoints()
                                                  : reinterpret_cast<const int8_t*>(Input(kZeroPointsSegment))) +
                      first_run;
      }
    } else if (has_scale) {
      QUANTD_RETURN_IF_ERROR(CopyTensorScale(batch_.parameters.scale));
    }
    FindDecodeLaunch(recipe_.restore, recipe_.element, plan_.values_dtype)(
        {.codes = Input(kCodesSegment) + CodeBytes(begin),
         .runs = rest,
         .scales = scales,
         .zeros = zeros,
         .zero_points = zero_points,
         .code_xor = recipe_.code_xor,
         .values = Output(kValuesSegment) + ValueBytes(begin)},
        stream_);
    return absl::OkStatus();
  }

  // ---- The scale of a tensor ----

  RunScale TensorScale() const {
    RunScale scale = batch_.parameters.scale;
    if (recipe_.method == ScaleMethod::kNone) scale.factor = 1;
    return scale;
  }
  absl::Status CopyTensorScale(const RunScale& scale) const {
    QUANTD_RETURN_IF_ERROR(
        StatusOf(cudaMemcpyAsync(At(scratch_.factors), &scale.factor, sizeof(float), cudaMemcpyHostToDevice, stream_),
                 "copying a scale to the GPU"));
    return StatusOf(cudaMemcpyAsync(At(scratch_.zeros), &scale.zero, sizeof(float), cudaMemcpyHostToDevice, stream_),
                    "copying a zero point to the GPU");
  }

  const DeviceBatch& batch_;
  const Plan& plan_;
  const Recipe& recipe_;
  const Pass& pass_;
  cudaStream_t stream_;
  RunGeometry runs_;
  Scratch scratch_;
  int bits_;
  uint64_t scale_bytes_;
  ScaleParameters parameters_;
  std::byte* stored_ = nullptr;  // scales of runs
  bool nests_ = false;           // these are still to be coded
  uint64_t done_ = 0;            // elements from the first on that fused kernels do
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

FusedLaunch FindFusedLaunch(Transform transform, Element element, DataType values) {
  switch (InfoOf(element).kind) {
    case ElementKind::kLevels:
      return FindFusedLaunchOfLevels(transform, element, values);
    case ElementKind::kMiniFloat:
      return FindFusedLaunchOfMiniFloats(transform, element, values);
    case ElementKind::kInteger:
      return FindFusedLaunchOfIntegers(transform, element, values);
    case ElementKind::kCast:
      return nullptr;
  }
  return nullptr;
}

bool HasDeviceKernels(const Plan& plan) { return plan.recipe.method != ScaleMethod::kGgml && !plan.IsForCpuOnly(); }

uint64_t DeviceScratchBytes(const Plan& plan, uint64_t element_count) { return Scratch(plan, element_count).bytes; }

absl::Status LaunchQuantize(std::span<const DeviceBatch> batches, cudaStream_t stream) {
  std::vector<BatchLauncher> launchers;
  launchers.reserve(batches.size());
  FusedLaunches fused;
  for (const DeviceBatch& batch : batches) launchers.emplace_back(batch, stream).AddFusedQuantize(fused);
  fused.Start(stream);
  for (BatchLauncher& launcher : launchers) QUANTD_RETURN_IF_ERROR(launcher.QuantizeRest());
  return absl::OkStatus();
}

absl::Status LaunchDequantize(std::span<const DeviceBatch> batches, cudaStream_t stream) {
  std::vector<BatchLauncher> launchers;
  launchers.reserve(batches.size());
  FusedDecodeLaunches fused;
  for (const DeviceBatch& batch : batches) launchers.emplace_back(batch, stream).AddFusedDequantize(fused);
  fused.Start(stream);
  for (BatchLauncher& launcher : launchers) QUANTD_RETURN_IF_ERROR(launcher.DequantizeRest());
  return absl::OkStatus();
}

}  // namespace quantd
