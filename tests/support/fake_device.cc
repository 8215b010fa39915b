#include "tests/support/fake_device.h"

#include <unistd.h>

#include <atomic>
#include <charconv>
#include <functional>
#include <utility>

#include "absl/synchronization/notification.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/cpu/cpu_backend.h"

namespace quantd::testing {
namespace {

constexpr std::pair<std::string_view, Fault> kFaultNames[] = {
    {"none", Fault::kNone},
    {"refuse", Fault::kRefuse},
    {"no-memory", Fault::kNoMemory},
    {"no-budget", Fault::kNoBudget},
    {"wrong", Fault::kWrong},
    {"wrong-after", Fault::kWrongAfter},
    {"crash", Fault::kCrash},
    {"hang", Fault::kHang},
    {"sticky", Fault::kSticky},
    {"out-of-memory", Fault::kOutOfMemory},
    {"tight-memory", Fault::kTightMemory},
    {"slow-to-cancel", Fault::kSlowToCancel},
    {"scribble", Fault::kScribble},
};
constexpr int kCrashExitCode = 77;

// What the device and its backends, the one after the other, have in common.
struct FakeState {
  FaultPlan plan;
  std::span<std::byte> slots;
  std::atomic<int> runs = 0;
  std::atomic<bool> trimmed = false;
};

class FaultyBackend final : public Backend {
 public:
  explicit FaultyBackend(std::shared_ptr<FakeState> state) : state_(std::move(state)), cpu_(MakeCpuBackend()) {}

  std::string_view name() const override { return "fake"; }
  std::string_view target() const override { return "fake_90"; }

  absl::StatusOr<BatchResult> Run(const Plan& plan, const UnitBatch& batch,
                                  const std::atomic<bool>& cancelled) override {
    const bool self_test = !InSlots(batch.inputs[0]) && !InSlots(batch.inputs[1]);
    const bool due = !self_test && ++state_->runs >= state_->plan.from_run;
    const Fault fault = state_->plan.fault;
    if (due && fault == Fault::kCrash) _exit(kCrashExitCode);
    if (due && fault == Fault::kScribble) {
      const_cast<std::byte*>(batch.inputs[0])[100] ^= std::byte{1};
      _exit(kCrashExitCode);
    }
    if (due && fault == Fault::kHang) absl::Notification().WaitForNotification();
    if (due && fault == Fault::kSticky) {
      return MakeError(absl::StatusCode::kInternal, reason::kBackendFailed, "an illegal memory access was encountered");
    }
    if (due && (fault == Fault::kOutOfMemory || (fault == Fault::kTightMemory && !state_->trimmed))) {
      return absl::ResourceExhaustedError("out of memory");
    }
    while (due && fault == Fault::kSlowToCancel) {
      if (cancelled) return absl::CancelledError("cancelled");
    }
    auto result = cpu_->Run(plan, batch, cancelled);
    const bool wrong_now = fault == Fault::kWrongAfter && state_->runs >= state_->plan.from_run;
    if (fault == Fault::kWrong || (self_test && wrong_now)) batch.outputs[0][0] ^= std::byte{1};
    return result;
  }

 private:
  bool InSlots(const std::byte* data) const {
    const std::less<const std::byte*> before;
    return !before(data, state_->slots.data()) && before(data, state_->slots.data() + state_->slots.size());
  }

  const std::shared_ptr<FakeState> state_;
  const std::unique_ptr<Backend> cpu_;
};

class FakeDevice final : public server::WorkerDevice {
 public:
  explicit FakeDevice(const FaultPlan& plan) { state_->plan = plan; }

  absl::StatusOr<uint32_t> Open(const server::StartMessage& start, std::span<std::byte> slots) override {
    if (state_->plan.fault == Fault::kRefuse) return absl::InternalError("there is no such GPU");
    if (state_->plan.fault == Fault::kNoMemory) return absl::ResourceExhaustedError("others have all the memory");
    if (state_->plan.fault == Fault::kNoBudget)
      return absl::FailedPreconditionError("gpu.memory_budget_bytes is 1 MiB");
    state_->slots = slots;
    return start.units_in_flight;
  }
  uint64_t together_bytes_max() const override { return 16 << 20; }
  std::shared_ptr<Backend> backend() override { return std::make_shared<FaultyBackend>(state_); }
  void Trim() override { state_->trimmed = true; }

 private:
  const std::shared_ptr<FakeState> state_ = std::make_shared<FakeState>();
};

}  // namespace

absl::StatusOr<FaultPlan> ParseFault(std::string_view text) {
  const size_t colon = text.find(':');
  FaultPlan plan;
  if (colon != std::string_view::npos) {
    const std::string_view run = text.substr(colon + 1);
    std::from_chars(run.data(), run.data() + run.size(), plan.from_run);
  }
  for (const auto& [name, fault] : kFaultNames) {
    if (name != text.substr(0, colon)) continue;
    plan.fault = fault;
    return plan;
  }
  return absl::InvalidArgumentError("there is no fault " + std::string(text));
}

std::unique_ptr<server::WorkerDevice> MakeFakeDevice(const FaultPlan& plan) {
  return std::make_unique<FakeDevice>(plan);
}

}  // namespace quantd::testing
