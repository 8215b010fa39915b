#include "kernels/cuda/cuda_backend.h"

#include <cuda_runtime_api.h>

#include <algorithm>
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
#include "kernels/cuda/launch_policy.h"

namespace quantd {
namespace {

constexpr uint64_t kAlignmentBytes = 256;
constexpr uint64_t kVectorBytes = 16;  // that kernels read and write at once
constexpr uint64_t Aligned(uint64_t bytes) { return (bytes + kAlignmentBytes - 1) / kAlignmentBytes * kAlignmentBytes; }

// Parts of one allocation, laid out before it is made: without memory they are null, and only their bytes are of use.
class Layout {
 public:
  explicit Layout(std::byte* memory = nullptr) : memory_(memory) {}
  std::byte* Add(uint64_t bytes) {
    const uint64_t begin = std::exchange(bytes_, bytes_ + Aligned(bytes));
    return memory_ == nullptr ? nullptr : memory_ + begin;
  }
  uint64_t bytes() const { return bytes_; }

 private:
  std::byte* memory_;
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
  PinnedBuffer found;                // FindingsSlots of each tensor, copied from `findings`
  MappedFindings findings_in_place;  // what kernels write that work in the host's memory
};

bool HasKernels(const Plan& plan, const UnitBatch& batch) {
  return !batch.error_metrics && HasDeviceKernels(plan) && batch.begin_unit < batch.end_unit;
}

absl::Status CopyBack(void* to, const std::byte* from, uint64_t bytes, cudaStream_t stream) {
  return StatusOf(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream), "copying a segment from the GPU");
}

// A batch of an operation: where its segments are on the device, and how they come there.
class Member {
 public:
  Member(BatchRun& run, CudaKernels kernels, const LaunchPolicy& policy)
      : run_(run),
        plan_(run.plan),
        pass_(run.plan.passes[run.batch.pass]),
        batch_(run.batch),
        on_device_{.plan = run.plan,
                   .pass = run.batch.pass,
                   .element_count = run.plan.ElementsOf(run.batch.begin_unit, run.batch.end_unit),
                   .parameters = run.plan.direction == Direction::kQuantize
                                     ? run.batch.parameters
                                     : ParametersFrom(run.plan, run.batch.inputs),
                   .kernels = kernels,
                   .policy = policy} {}

  BatchRun& run() const { return run_; }
  const DeviceBatch& on_device() const { return on_device_; }
  bool Quantizes() const { return plan_.direction == Direction::kQuantize; }
  uint64_t value_bytes() const { return on_device_.element_count * SizeBytes(plan_.values_dtype); }

  // Whether kernels can compute it in the host's memory.
  bool CanStayInPlace(const MappedMemory& mapped) const {
    uint64_t bytes = 0;
    const auto add = [&](const SegmentLayout& segment, const std::byte* data) {
      bytes += BytesOf(segment);
      return segment.whole_tensor() || Mapped(mapped, data, BytesOf(segment)) != nullptr;
    };
    for (size_t i = 0; i < pass_.inputs.size(); ++i) {
      if (!add(pass_.inputs[i], batch_.inputs[i])) return false;
    }
    for (size_t i = 0; i < pass_.outputs.size(); ++i) {
      if (!add(pass_.outputs[i], batch_.outputs[i])) return false;
    }
    return bytes <= kInPlaceBytesMax;
  }

  void PlaceInPlace(const MappedMemory& mapped, Layout& layout) {
    for (size_t i = 0; i < pass_.inputs.size(); ++i) {
      if (pass_.inputs[i].whole_tensor()) continue;
      on_device_.inputs[i] = Mapped(mapped, batch_.inputs[i], BytesOf(pass_.inputs[i]));
    }
    for (size_t i = 0; i < pass_.outputs.size(); ++i) {
      if (pass_.outputs[i].whole_tensor()) continue;
      on_device_.outputs[i] = Mapped(mapped, batch_.outputs[i], BytesOf(pass_.outputs[i]));
    }
    on_device_.scratch = layout.Add(DeviceScratchBytes(plan_, on_device_.element_count));
  }
  void PlaceCopies(Layout& layout) {
    for (size_t i = 0; i < pass_.inputs.size(); ++i) {
      if (!pass_.inputs[i].whole_tensor()) on_device_.inputs[i] = layout.Add(BytesOf(pass_.inputs[i]));
    }
    for (size_t i = 0; i < pass_.outputs.size(); ++i) {
      if (!pass_.outputs[i].whole_tensor()) on_device_.outputs[i] = layout.Add(BytesOf(pass_.outputs[i]));
    }
    on_device_.scratch = layout.Add(DeviceScratchBytes(plan_, on_device_.element_count));
  }

  void SetFindings(const FindingsTarget& findings) { on_device_.findings = findings; }

  absl::Status CopyInputs(cudaStream_t stream) const {
    for (size_t i = 0; i < pass_.inputs.size(); ++i) {
      const uint64_t bytes = BytesOf(pass_.inputs[i]);
      if (bytes == 0) continue;
      QUANTD_RETURN_IF_ERROR(
          StatusOf(cudaMemcpyAsync(on_device_.inputs[i], batch_.inputs[i], bytes, cudaMemcpyHostToDevice, stream),
                   "copying a segment to the GPU"));
    }
    return absl::OkStatus();
  }
  absl::Status CopyOutputs(cudaStream_t stream) const {
    for (size_t i = 0; i < pass_.outputs.size(); ++i) {
      const uint64_t bytes = BytesOf(pass_.outputs[i]);
      if (bytes == 0) continue;
      const bool is_copy = pass_.outputs[i].name == kSpooledValuesSegment;
      QUANTD_RETURN_IF_ERROR(
          CopyBack(batch_.outputs[i], is_copy ? on_device_.inputs[0] : on_device_.outputs[i], bytes, stream));
    }
    return absl::OkStatus();
  }
  // Where it stays in place, the output that kernels do not write.
  void CopySpooledValues() const {
    for (size_t i = 0; i < pass_.outputs.size(); ++i) {
      if (pass_.outputs[i].name != kSpooledValuesSegment) continue;
      std::memcpy(batch_.outputs[i], batch_.inputs[0], BytesOf(pass_.outputs[i]));
    }
  }

  // False where a value is not finite, and so the batch is for another backend to do again.
  bool TakeFound(const FoundRange& found) const {
    constexpr uint32_t kInfinity = 0x7f800000;
    if (found.amax_bits >= kInfinity) return false;
    run_.result = BatchResult();
    // Of values; what was found in spooled scales is not of interest.
    if (pass_.inputs[0].name == kSpooledScalesSegment) return true;
    ValueRange& range = run_.result->range;
    range.amax = std::bit_cast<float>(found.amax_bits);
    if (found.lowest_bits != 0) range.lowest = -std::bit_cast<float>(found.lowest_bits);
    range.highest = std::bit_cast<float>(found.highest_bits);
    return true;
  }

 private:
  // Where kernels find a segment in the host's memory; null: they do not, or not where they need it.
  static std::byte* Mapped(const MappedMemory& mapped, const std::byte* data, uint64_t bytes) {
    const std::byte* const begin = mapped.host.data();
    if (std::less<>()(data, begin) || std::less<>()(begin + mapped.host.size(), data + bytes)) return nullptr;
    std::byte* const found = mapped.device + (data - begin);
    return reinterpret_cast<uintptr_t>(found) % kVectorBytes == 0 ? found : nullptr;
  }

  uint64_t BytesOf(const SegmentLayout& segment) const {
    if (segment.whole_tensor()) return 0;
    const auto [begin, end] = plan_.BytesOf(segment, batch_.begin_unit, batch_.end_unit);
    return end - begin;
  }

  BatchRun& run_;
  const Plan& plan_;
  const Pass& pass_;
  const UnitBatch& batch_;
  DeviceBatch on_device_;
};

// Up to kLaunchTensorsMax batches of one direction. Copies and kernels are queued on the workspace's stream; Finish
// waits for them.
class Operation {
 public:
  Operation(std::vector<Member> members, const MappedMemory& mapped, Workspace& workspace)
      : members_(std::move(members)), mapped_(mapped), workspace_(workspace), stream_(workspace.stream.get()) {}
  // After a failure copies may still be under way, from and to the caller's memory.
  ~Operation() {
    if (!is_over_) cudaStreamSynchronize(stream_);
  }
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

  absl::Status Prepare() {
    in_place_ = std::ranges::all_of(members_, [&](const Member& member) { return member.CanStayInPlace(mapped_); });
    Layout sizes;
    Place(sizes);
    QUANTD_RETURN_IF_ERROR(workspace_.memory.Reserve(sizes.bytes()));
    Layout places(workspace_.memory.data());
    Place(places);
    return absl::OkStatus();
  }

  // What is left is for another backend to do again.
  absl::Status Quantize(std::vector<BatchRun*>& left) {
    QUANTD_RETURN_IF_ERROR(in_place_ ? QuantizeInPlace() : QuantizeCopies());
    for (size_t i = 0; i < members_.size(); ++i) {
      const FoundRange found =
          in_place_ ? workspace_.findings_in_place.Found(i)
                    : FoundBy(findings_.launch, reinterpret_cast<const FindingsSlots*>(workspace_.found.data())[i]);
      if (!members_[i].TakeFound(found)) left.push_back(&members_[i].run());
    }
    return absl::OkStatus();
  }

  absl::Status Dequantize() {
    if (!in_place_) QUANTD_RETURN_IF_ERROR(CopyInputs());
    QUANTD_RETURN_IF_ERROR(LaunchDequantize(Batches(), stream_));
    if (!in_place_) QUANTD_RETURN_IF_ERROR(CopyOutputs());
    QUANTD_RETURN_IF_ERROR(Finish());
    for (const Member& member : members_) member.run().result = BatchResult();
    return absl::OkStatus();
  }

 private:
  void Place(Layout& layout) {
    for (Member& member : members_) in_place_ ? member.PlaceInPlace(mapped_, layout) : member.PlaceCopies(layout);
  }

  void SetFindings() {
    for (size_t i = 0; i < members_.size(); ++i) members_[i].SetFindings(FindingsOf(findings_, i));
  }

  absl::Status QuantizeInPlace() {
    QUANTD_ASSIGN_OR_RETURN(findings_, workspace_.findings_in_place.Next());
    SetFindings();
    QUANTD_RETURN_IF_ERROR(LaunchQuantize(Batches(), stream_));
    for (const Member& member : members_) member.CopySpooledValues();
    return Finish();
  }

  absl::Status QuantizeCopies() {
    QUANTD_RETURN_IF_ERROR(CopyInputs());
    QUANTD_ASSIGN_OR_RETURN(findings_, workspace_.findings.Next(stream_));
    SetFindings();
    QUANTD_RETURN_IF_ERROR(LaunchQuantize(Batches(), stream_));
    QUANTD_RETURN_IF_ERROR(CopyBack(workspace_.found.data(), reinterpret_cast<const std::byte*>(findings_.slots),
                                    members_.size() * sizeof(FindingsSlots), stream_));
    QUANTD_RETURN_IF_ERROR(CopyOutputs());
    return Finish();
  }

  std::vector<DeviceBatch> Batches() const {
    std::vector<DeviceBatch> batches;
    batches.reserve(members_.size());
    for (const Member& member : members_) batches.push_back(member.on_device());
    return batches;
  }

  absl::Status CopyInputs() const {
    for (const Member& member : members_) QUANTD_RETURN_IF_ERROR(member.CopyInputs(stream_));
    return absl::OkStatus();
  }
  absl::Status CopyOutputs() const {
    for (const Member& member : members_) QUANTD_RETURN_IF_ERROR(member.CopyOutputs(stream_));
    return absl::OkStatus();
  }

  absl::Status Finish() {
    QUANTD_RETURN_IF_ERROR(StatusOf(cudaGetLastError(), "launching a kernel"));
    uint64_t value_bytes = 0;
    for (const Member& member : members_) value_bytes += member.value_bytes();
    if (value_bytes <= kPolledBytesMax) {
      const auto give_up = std::chrono::steady_clock::now() + kPollMax;
      while (!is_over_ && std::chrono::steady_clock::now() < give_up) {
        is_over_ = cudaStreamQuery(stream_) == cudaSuccess;
      }
      if (is_over_) return absl::OkStatus();
    }
    is_over_ = true;
    return StatusOf(cudaStreamSynchronize(stream_), "computing on the GPU");
  }

  std::vector<Member> members_;
  const MappedMemory& mapped_;
  Workspace& workspace_;
  cudaStream_t stream_;
  FindingsTarget findings_{};
  bool in_place_ = false;
  bool is_over_ = false;
};

LaunchPolicy PolicyOf(const cudaDeviceProp& properties) {
  return LaunchPolicyFor(properties.major, properties.minor, static_cast<uint32_t>(properties.multiProcessorCount));
}

class CudaBackend final : public Backend {
 public:
  CudaBackend(int device, const cudaDeviceProp& properties, std::unique_ptr<Backend> rest, CudaBackendOptions options)
      : device_(device),
        target_(absl::StrCat("sm_", properties.major, properties.minor)),
        policy_(PolicyOf(properties)),
        rest_(std::move(rest)),
        options_(std::move(options)) {}

  std::string_view name() const override { return "cuda"; }
  std::string_view target() const override { return target_; }

  absl::StatusOr<BatchResult> Run(const Plan& plan, const UnitBatch& batch,
                                  const std::atomic<bool>& cancelled) override {
    BatchRun run{plan, batch, cancelled};
    RunTogether({&run, 1});
    return std::move(run.result);
  }

  void RunTogether(std::span<BatchRun> runs) override {
    std::vector<BatchRun*> left;
    for (const Direction direction : {Direction::kQuantize, Direction::kDequantize}) {
      std::vector<Member> members;
      for (BatchRun& run : runs) {
        if (run.plan.direction != direction) continue;
        if (!HasKernels(run.plan, run.batch)) {
          left.push_back(&run);
        } else if (run.cancelled.load(std::memory_order_relaxed)) {
          run.result = absl::CancelledError("the tensor's work was cancelled");
        } else {
          members.emplace_back(run, options_.kernels, policy_);
          if (members.size() == kLaunchTensorsMax) RunOnGpu(std::exchange(members, {}), left);
        }
      }
      if (!members.empty()) RunOnGpu(std::move(members), left);
    }
    for (BatchRun* const run : left) run->result = rest_->Run(run->plan, run->batch, run->cancelled);
  }

 private:
  void RunOnGpu(std::vector<Member> members, std::vector<BatchRun*>& left) {
    std::vector<BatchRun*> runs;
    runs.reserve(members.size());
    for (const Member& member : members) runs.push_back(&member.run());
    const absl::Status status = TryRunOnGpu(std::move(members), left);
    if (status.ok()) return;
    for (BatchRun* const run : runs) run->result = status;
  }

  absl::Status TryRunOnGpu(std::vector<Member> members, std::vector<BatchRun*>& left) {
    QUANTD_RETURN_IF_ERROR(StatusOf(cudaSetDevice(device_), "choosing the GPU"));
    auto workspace = Take();
    if (!workspace.ok()) return workspace.status();
    absl::Status status = RunOn(std::move(members), **workspace, left);
    GiveBack(*std::move(workspace));
    return status;
  }

  absl::Status RunOn(std::vector<Member> members, Workspace& workspace, std::vector<BatchRun*>& left) const {
    const bool quantizes = members.front().Quantizes();
    Operation operation(std::move(members), options_.mapped, workspace);
    QUANTD_RETURN_IF_ERROR(operation.Prepare());
    return quantizes ? operation.Quantize(left) : operation.Dequantize();
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
    auto found = PinnedBuffer::Make(sizeof(FindingsSlots) * kLaunchTensorsMax);
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
  const LaunchPolicy policy_;
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
  return std::make_unique<CudaBackend>(device, properties, std::move(rest), std::move(options));
}

}  // namespace quantd
