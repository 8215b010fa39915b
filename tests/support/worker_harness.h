// GPU workers without a GPU: real processes of fake_gpu_worker, a clock that stands still, and batches in slots.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "kernels/cpu/cpu_backend.h"
#include "server/session/slot_arena.h"
#include "server/telemetry/logger.h"
#include "server/worker/gpu_worker.h"
#include "tests/support/fake_clock.h"
#include "tests/support/tensor_runner.h"

namespace quantd::testing {

// Longer than anything that works takes.
inline constexpr absl::Duration kPatience = absl::Seconds(60);

// Keeps the lines, and lets a test wait for one.
class RecordingLogger final : public server::Logger {
 public:
  void Write(server::LogLevel level, std::string_view message,
             std::initializer_list<server::LogField> fields = {}) override;
  // The first line, as text, that contains `part`; empty if none came in time.
  std::string AwaitLine(std::string_view part);
  // Lines so far that contain `part`.
  size_t CountLines(std::string_view part);

 private:
  absl::Mutex mutex_;
  std::vector<std::string> lines_ ABSL_GUARDED_BY(mutex_);
};

// Starts a process for each fault in turn, then for the last one again and again.
server::WorkerLauncher LaunchFakes(std::vector<std::string> faults);

server::SharedSlots SharedSlotsOf(const server::SlotArena& arena);

// Slots, a clock, a log, and workers in them.
class WorkerHarness {
 public:
  WorkerHarness();

  std::unique_ptr<server::GpuWorker> MakeWorker(std::vector<std::string> faults,
                                                server::GpuWorkerOptions options = {.device = "GPU-fake"});
  // The same, started and serving.
  std::unique_ptr<server::GpuWorker> ServingWorker(std::vector<std::string> faults,
                                                   server::GpuWorkerOptions options = {.device = "GPU-fake"});

  FakeClock clock;
  RecordingLogger logger;
  std::shared_ptr<server::SlotArena> arena;
};

// A whole tensor of random values as one batch in a slot, quantized to bnb-nf4 unless the scheme says otherwise: of
// 128 KiB, or so small that no thread hands it on.
class SlotBatch {
 public:
  static constexpr uint64_t kRows = 64;
  static constexpr uint64_t kRowsOfSmall = 8;

  explicit SlotBatch(server::SlotArena& arena, const SchemeRequest& scheme = {.preset = "bnb-nf4"},
                     uint64_t rows = kRows);

  absl::StatusOr<BatchResult> RunOn(Backend& backend);
  // Its per-unit outputs one after another.
  Bytes Outputs() const;
  uint32_t input_crc32c() const;
  // What the CPU makes of the same values.
  Bytes Expected() const;

  const Plan plan;
  UnitBatch units;
  std::atomic<bool> cancelled = false;

 private:
  Bytes values_;
  server::SlotPtr slot_;
};

}  // namespace quantd::testing
