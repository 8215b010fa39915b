// A GPU as a backend: a worker process that is started, fed, watched, killed and replaced.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "kernels/backend/backend.h"
#include "kernels/base/clock.h"
#include "server/telemetry/logger.h"
#include "server/worker/child_process.h"
#include "server/worker/message_socket.h"
#include "server/worker/plan_slots.h"
#include "server/worker/restart_policy.h"
#include "server/worker/unit_references.h"
#include "server/worker/wake_up.h"

namespace quantd::server {

//   idle ──▶ starting ──▶ serving ──▶ draining ──▶ idle        after `idle_exit` without work
//               └───────────┴──▶ lost ──▶ starting | quarantined
enum class WorkerState : uint8_t { kIdle, kStarting, kServing, kDraining, kLost, kQuarantined };
std::string_view NameOf(WorkerState state);

struct GpuWorkerOptions {
  std::string device;                         // for people: a UUID
  uint32_t units_in_flight_max = 4;           // batches that the worker runs at once
  uint64_t memory_budget_bytes = 2ull << 30;  // of the device, the context included
  absl::Duration start_deadline = absl::Minutes(1);
  absl::Duration unit_deadline = absl::Seconds(10);  // of a batch or a probe, from sending to its result
  absl::Duration probe_interval = absl::Minutes(1);  // known answers again, where there was work meanwhile
  absl::Duration idle_trim = absl::Seconds(2);
  absl::Duration idle_exit = absl::Minutes(5);
  RestartOptions restart;
  std::function<void(WorkerState)> on_state;  // of every change; must not call the worker. Empty: nobody is told
};

// A process that has just been started, and this process's end of its socket.
struct LaunchedWorker {
  ChildProcess process;
  MessageSocket socket;
};
using WorkerLauncher = std::function<absl::StatusOr<LaunchedWorker>()>;

// The slots to work in, and the descriptor of their memory; both outlive the worker.
struct SharedSlots {
  int descriptor = -1;
  SlotMemory memory;
};

// Since the start of the server.
struct GpuWorkerCounts {
  uint64_t batches = 0;      // computed
  uint64_t value_bytes = 0;  // of those
  uint64_t losses = 0;       // processes that crashed, were killed for a fault or could not start
};

// Safe from any thread.
class GpuWorker final : public Backend {
 public:
  // Starts nothing yet. `launch` is called on a thread of the worker's own.
  GpuWorker(GpuWorkerOptions options, WorkerLauncher launch, const SharedSlots& slots, const Clock& clock,
            Logger& logger);
  // Kills the process; nobody may be in Run.
  ~GpuWorker() override;
  GpuWorker(const GpuWorker&) = delete;
  GpuWorker& operator=(const GpuWorker&) = delete;

  std::string_view name() const override { return "gpu"; }
  // "sm_90"; empty before the first process was ready.
  std::string_view target() const override;

  // Has the process compute the batch, whose memory must lie in the slots, and waits, first for its turn. UNAVAILABLE
  // with reason GPU_LOST if it is not serving, or died or was killed meanwhile: it is gone by then, so the batch can be
  // computed again elsewhere. RESOURCE_EXHAUSTED with reason GPU_MEMORY. CANCELLED. Error sums are not made.
  absl::StatusOr<BatchResult> Run(const Plan& plan, const UnitBatch& batch,
                                  const std::atomic<bool>& cancelled) override;

  // Makes an idle worker start; returns at once.
  void Start();

  WorkerState state() const;
  GpuWorkerCounts counts() const;
  const std::string& device() const { return options_.device; }
  // As agreed on with the process.
  uint32_t units_in_flight() const;
  // True once it is in that state; false after `timeout`, or if it is quarantined instead.
  bool AwaitState(WorkerState state, absl::Duration timeout) const;

  // For tests. Looks at the clock now.
  void Wake() { wake_up_.Notify(); }
  pid_t pid() const;  // negative without a process
  // Waits until that many batches and probes are with the process.
  bool AwaitUnderWay(size_t count, absl::Duration timeout) const;

 private:
  // Who reads what the process says. Nobody where it has nothing to answer; for a small batch the thread that has sent
  // it, for a moment, because a hop to another thread takes longer than the batch.
  enum class Reader : uint8_t { kNobody, kSender, kWatcher };

  // A batch, or a probe, that the process has not answered yet.
  struct Pending {
    absl::Time deadline;
    const std::atomic<bool>* cancelled = nullptr;  // null: a probe
    bool cancel_sent = false;
    bool done = false;
    absl::StatusOr<BatchResult> outcome = BatchResult();
  };

  // Waits for its turn. True: the sender is to read.
  absl::StatusOr<bool> SendBatch(const Plan& plan, RunMessage message, const std::shared_ptr<Pending>& pending,
                                 uint64_t value_bytes);
  void ReadForAMoment(const Pending& awaited);
  void LetWatcherRead() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  void Watch();
  // When it must be looked at again. `all_is_read`: no answer waits in the socket, where this process itself may have
  // been stopped for longer than a deadline.
  absl::Time LookAtClock(bool all_is_read) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Lost, its process gone, the next one not yet due.
  bool IsBetweenProcesses() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Time LookAtServing(absl::Time now, bool all_is_read) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Time LookAtIdleness(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Launch() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeMessage(absl::StatusOr<std::optional<MessageSocket::Received>> received)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeReady(const ReadyMessage& ready) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeResult(ResultMessage& result) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnGone() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsHeard() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AfterLoss(LossKind kind, const std::string& how) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status SendRun(const Plan& plan, RunMessage message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SendOrDoubt(WorkerMessage message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Nothing that it says counts any more: it is killed, and what it was given is done again once it is gone.
  void Doubt(const std::string& why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SetState(WorkerState state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const GpuWorkerOptions options_;
  const WorkerLauncher launch_;
  const SharedSlots slots_;
  const Clock& clock_;
  Logger& logger_;
  const WakeUp wake_up_;

  mutable absl::Mutex mutex_;
  WorkerState state_ ABSL_GUARDED_BY(mutex_) = WorkerState::kIdle;
  bool start_wanted_ ABSL_GUARDED_BY(mutex_) = false;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<ChildProcess> process_ ABSL_GUARDED_BY(mutex_);  // replaced by the watching thread only
  std::optional<MessageSocket> socket_ ABSL_GUARDED_BY(mutex_);  // closed when the process is gone and nobody reads
  Reader reader_ ABSL_GUARDED_BY(mutex_) = Reader::kNobody;
  std::string doubt_ ABSL_GUARDED_BY(mutex_);  // why it was killed; empty: it was not
  LossKind loss_ ABSL_GUARDED_BY(mutex_) = LossKind::kFault;
  std::string target_ ABSL_GUARDED_BY(mutex_);  // never changes once it is set
  uint32_t units_in_flight_ ABSL_GUARDED_BY(mutex_) = 0;
  PlanSlots plans_ ABSL_GUARDED_BY(mutex_);
  uint64_t last_id_ ABSL_GUARDED_BY(mutex_) = 0;
  uint32_t runs_ ABSL_GUARDED_BY(mutex_) = 0;  // at most kWorkerBatchesPerUnit for each unit in flight; without probes
  std::map<uint64_t, std::shared_ptr<Pending>> pending_ ABSL_GUARDED_BY(mutex_);
  GpuWorkerCounts counts_ ABSL_GUARDED_BY(mutex_);
  RestartPolicy restart_policy_ ABSL_GUARDED_BY(mutex_);

  absl::Time state_since_ ABSL_GUARDED_BY(mutex_);
  absl::Time restart_at_ ABSL_GUARDED_BY(mutex_);
  absl::Time ready_at_ ABSL_GUARDED_BY(mutex_);
  absl::Time worked_at_ ABSL_GUARDED_BY(mutex_);
  absl::Time probed_at_ ABSL_GUARDED_BY(mutex_);
  bool worked_since_probe_ ABSL_GUARDED_BY(mutex_) = false;
  bool trimmed_ ABSL_GUARDED_BY(mutex_) = false;

  std::thread thread_;
};

}  // namespace quantd::server
