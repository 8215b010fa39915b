#include "kernels/cuda/cuda_backend.h"

#include <cuda_runtime_api.h>

#include <array>
#include <bit>
#include <chrono>
#include <cstring>
#include <functional>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/base/status_macros.h"
#include "kernels/cuda/cuda_status.h"
#include "kernels/cuda/device_batch.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/findings_memory.h"

namespace quantd {
namespace {

constexpr uint64_t kAlignmentBytes = 256;
constexpr uint64_t kVectorBytes = 16;  // that kernels read and write at once
constexpr uint64_t Aligned(uint64_t bytes) { return (bytes + kAlignmentBytes - 1) / kAlignmentBytes * kAlignmentBytes; }

// Parts of one allocation, laid out before it is made.
class Layout {
 public:
  uint64_t Add(uint64_t bytes) { return std::exchange(bytes_, bytes_ + Aligned(bytes)); }
  uint64_t bytes() const { return bytes_; }

 private:
  uint64_t bytes_ = 0;
};

// To wait for less by asking again and again is shorter than the interrupt that ends a longer wait.
constexpr uint64_t kPolledBytesMax = 1 << 20;
constexpr std::chrono::microseconds kPollMax(100);

struct Workspace {
  explicit Workspace(const std::shared_ptr<DeviceMemoryBudget>& budget) : memory(budget), findings(budget) {}

  Stream stream;
  DeviceBuffer memory;
  FindingsMemory findings;
  PinnedBuffer found;                // FindingsSlots, copied from `findings`
  MappedFindings findings_in_place;  // what kernels write that work in the host's memory
};

bool HasKernels(const Plan& plan, const UnitBatch& batch) { return !batch.error_metrics && HasDeviceKernels(plan); }

// One call of Run. Copies and kernels are queued on the workspace's stream; Finish waits for them.
class Operation {
 public:
  Operation(const Plan& plan, const UnitBatch& batch, CudaKernels kernels, const MappedMemory& mapped,
            Workspace& workspace)
      : plan_(plan),
        pass_(plan.passes[batch.pass]),
        batch_(batch),
        mapped_(mapped),
        workspace_(workspace),
        stream_(workspace.stream.get()),
        on_device_{.plan = plan,
                   .pass = batch.pass,
                   .element_count = plan.ElementsOf(batch.begin_unit, batch.end_unit),
                   .parameters =
                       plan.direction == Direction::kQuantize ? batch.parameters : ParametersFrom(plan, batch.inputs),
                   .kernels = kernels} {}
  // After a failure copies may still be under way, from and to the caller's memory.
  ~Operation() {
    if (!is_over_) cudaStreamSynchronize(stream_);
  }
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

  absl::Status Prepare() {
    in_place_ = CanStayInPlace();
    return in_place_ ? PrepareInPlace() : PrepareCopies();
  }

  // Sets `has_nonfinite` where the batch is for another backend to do again.
  absl::Status Quantize(BatchResult& result, bool& has_nonfinite) {
    FoundRange found;
    QUANTD_RETURN_IF_ERROR(in_place_ ? QuantizeInPlace(found) : QuantizeCopies(found));
    constexpr uint32_t kInfinity = 0x7f800000;
    has_nonfinite = found.amax_bits >= kInfinity;
    // Of values; what was found in spooled scales is not of interest.
    if (pass_.inputs[0].name == kSpooledScalesSegment) return absl::OkStatus();
    result.range.amax = std::bit_cast<float>(found.amax_bits);
    if (found.lowest_bits != 0) result.range.lowest = -std::bit_cast<float>(found.lowest_bits);
    result.range.highest = std::bit_cast<float>(found.highest_bits);
    return absl::OkStatus();
  }

  absl::Status Dequantize() {
    if (!in_place_) QUANTD_RETURN_IF_ERROR(CopyInputs());
    QUANTD_RETURN_IF_ERROR(LaunchDequantize(on_device_, stream_));
    if (!in_place_) QUANTD_RETURN_IF_ERROR(CopyOutputs());
    return Finish();
  }

 private:
  // Where kernels find a segment in the host's memory; null: they do not, or not where they need it.
  std::byte* Mapped(const std::byte* data, uint64_t bytes) const {
    const std::byte* const begin = mapped_.host.data();
    if (std::less<>()(data, begin) || std::less<>()(begin + mapped_.host.size(), data + bytes)) return nullptr;
    std::byte* const found = mapped_.device + (data - begin);
    return reinterpret_cast<uintptr_t>(found) % kVectorBytes == 0 ? found : nullptr;
  }

  bool CanStayInPlace() const {
    uint64_t bytes = 0;
    const auto add = [&](const SegmentLayout& segment, const std::byte* data) {
      bytes += BytesOf(segment);
      return segment.whole_tensor() || Mapped(data, BytesOf(segment)) != nullptr;
    };
    for (size_t i = 0; i < pass_.inputs.size(); ++i) {
      if (!add(pass_.inputs[i], batch_.inputs[i])) return false;
    }
    for (size_t i = 0; i < pass_.outputs.size(); ++i) {
      if (!add(pass_.outputs[i], batch_.outputs[i])) return false;
    }
    return bytes <= kInPlaceBytesMax;
  }

  absl::Status PrepareInPlace() {
    for (size_t i = 0; i < pass_.inputs.size(); ++i) {
      if (!pass_.inputs[i].whole_tensor()) on_device_.inputs[i] = Mapped(batch_.inputs[i], BytesOf(pass_.inputs[i]));
    }
    for (size_t i = 0; i < pass_.outputs.size(); ++i) {
      if (pass_.outputs[i].whole_tensor()) continue;
      on_device_.outputs[i] = Mapped(batch_.outputs[i], BytesOf(pass_.outputs[i]));
    }
    QUANTD_RETURN_IF_ERROR(workspace_.memory.Reserve(DeviceScratchBytes(plan_, on_device_.element_count)));
    on_device_.scratch = workspace_.memory.data();
    return absl::OkStatus();
  }

  absl::Status QuantizeInPlace(FoundRange& found) {
    QUANTD_ASSIGN_OR_RETURN(on_device_.findings, workspace_.findings_in_place.Next());
    QUANTD_RETURN_IF_ERROR(LaunchQuantize(on_device_, stream_));
    for (size_t i = 0; i < pass_.outputs.size(); ++i) {
      if (pass_.outputs[i].name != kSpooledValuesSegment) continue;
      std::memcpy(batch_.outputs[i], batch_.inputs[0], BytesOf(pass_.outputs[i]));
    }
    QUANTD_RETURN_IF_ERROR(Finish());
    found = workspace_.findings_in_place.Found();
    return absl::OkStatus();
  }

  absl::Status PrepareCopies() {
    Layout layout;
    std::array<uint64_t, kSegmentsMax> inputs{};
    std::array<uint64_t, kSegmentsMax> outputs{};
    for (size_t i = 0; i < pass_.inputs.size(); ++i) inputs[i] = layout.Add(BytesOf(pass_.inputs[i]));
    for (size_t i = 0; i < pass_.outputs.size(); ++i) outputs[i] = layout.Add(BytesOf(pass_.outputs[i]));
    const uint64_t scratch = layout.Add(DeviceScratchBytes(plan_, on_device_.element_count));
    QUANTD_RETURN_IF_ERROR(workspace_.memory.Reserve(layout.bytes()));
    std::byte* const memory = workspace_.memory.data();
    for (size_t i = 0; i < pass_.inputs.size(); ++i) {
      if (!pass_.inputs[i].whole_tensor()) on_device_.inputs[i] = memory + inputs[i];
    }
    for (size_t i = 0; i < pass_.outputs.size(); ++i) {
      if (!pass_.outputs[i].whole_tensor()) on_device_.outputs[i] = memory + outputs[i];
    }
    on_device_.scratch = memory + scratch;
    return absl::OkStatus();
  }

  absl::Status QuantizeCopies(FoundRange& found) {
    QUANTD_RETURN_IF_ERROR(CopyInputs());
    QUANTD_ASSIGN_OR_RETURN(on_device_.findings, workspace_.findings.Next(stream_));
    QUANTD_RETURN_IF_ERROR(LaunchQuantize(on_device_, stream_));
    const auto& slots = *reinterpret_cast<const FindingsSlots*>(workspace_.found.data());
    QUANTD_RETURN_IF_ERROR(CopyBack(workspace_.found.data(),
                                    reinterpret_cast<const std::byte*>(on_device_.findings.slots), sizeof(slots)));
    QUANTD_RETURN_IF_ERROR(CopyOutputs());
    QUANTD_RETURN_IF_ERROR(Finish());
    found = FoundBy(on_device_.findings.launch, slots);
    return absl::OkStatus();
  }

  uint64_t BytesOf(const SegmentLayout& segment) const {
    if (segment.whole_tensor()) return 0;
    const auto [begin, end] = plan_.BytesOf(segment, batch_.begin_unit, batch_.end_unit);
    return end - begin;
  }

  absl::Status CopyInputs() {
    for (size_t i = 0; i < pass_.inputs.size(); ++i) {
      const uint64_t bytes = BytesOf(pass_.inputs[i]);
      if (bytes == 0) continue;
      QUANTD_RETURN_IF_ERROR(
          StatusOf(cudaMemcpyAsync(on_device_.inputs[i], batch_.inputs[i], bytes, cudaMemcpyHostToDevice, stream_),
                   "copying a segment to the GPU"));
    }
    return absl::OkStatus();
  }
  absl::Status CopyOutputs() {
    for (size_t i = 0; i < pass_.outputs.size(); ++i) {
      const uint64_t bytes = BytesOf(pass_.outputs[i]);
      if (bytes == 0) continue;
      const bool is_copy = pass_.outputs[i].name == kSpooledValuesSegment;
      QUANTD_RETURN_IF_ERROR(
          CopyBack(batch_.outputs[i], is_copy ? on_device_.inputs[0] : on_device_.outputs[i], bytes));
    }
    return absl::OkStatus();
  }
  absl::Status CopyBack(void* to, const std::byte* from, uint64_t bytes) {
    return StatusOf(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_),
                    "copying a segment from the GPU");
  }
  absl::Status Finish() {
    QUANTD_RETURN_IF_ERROR(StatusOf(cudaGetLastError(), "launching a kernel"));
    if (on_device_.element_count * SizeBytes(plan_.values_dtype) <= kPolledBytesMax) {
      const auto give_up = std::chrono::steady_clock::now() + kPollMax;
      while (!is_over_ && std::chrono::steady_clock::now() < give_up) {
        is_over_ = cudaStreamQuery(stream_) == cudaSuccess;
      }
      if (is_over_) return absl::OkStatus();
    }
    is_over_ = true;
    return StatusOf(cudaStreamSynchronize(stream_), "computing on the GPU");
  }

  const Plan& plan_;
  const Pass& pass_;
  const UnitBatch& batch_;
  const MappedMemory& mapped_;
  Workspace& workspace_;
  cudaStream_t stream_;
  DeviceBatch on_device_;
  bool in_place_ = false;
  bool is_over_ = false;
};

class CudaBackend final : public Backend {
 public:
  CudaBackend(int device, std::string target, std::unique_ptr<Backend> rest, CudaBackendOptions options)
      : device_(device), target_(std::move(target)), rest_(std::move(rest)), options_(std::move(options)) {}

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
  absl::Status RunOn(const Plan& plan, const UnitBatch& batch, Workspace& workspace, BatchResult& result,
                     bool& has_nonfinite) const {
    Operation operation(plan, batch, options_.kernels, options_.mapped, workspace);
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
    auto found = PinnedBuffer::Make(sizeof(FindingsSlots));
    if (!found.ok()) return found.status();
    auto workspace = std::make_unique<Workspace>(options_.memory_budget);
    workspace->stream = *std::move(stream);
    workspace->found = *std::move(found);
    return workspace;
  }
  void GiveBack(std::unique_ptr<Workspace> workspace) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(workspace));
  }

  int device_;
  std::string target_;
  std::unique_ptr<Backend> rest_;
  const CudaBackendOptions options_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Workspace>> idle_;
};

}  // namespace

int CudaDeviceCount() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();
    return 0;
  }
  return count;
}

absl::StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(int device, std::unique_ptr<Backend> rest,
                                                         CudaBackendOptions options) {
  cudaDeviceProp properties{};
  QUANTD_RETURN_IF_ERROR(StatusOf(cudaGetDeviceProperties(&properties, device), "looking for the GPU"));
  return std::make_unique<CudaBackend>(device, absl::StrCat("sm_", properties.major, properties.minor), std::move(rest),
                                       std::move(options));
}

}  // namespace quantd
