#include "server/worker/worker_loop.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "kernels/base/checked_math.h"
#include "kernels/base/status_macros.h"
#include "kernels/cpu/cpu_backend.h"
#include "server/session/compute_pool.h"
#include "server/worker/unit_references.h"

namespace quantd::server {
namespace {

// Batches that the thread computes which has read of them: a hop to another one takes longer than they do. Meanwhile
// nothing else is read.
constexpr uint64_t kSmallBatchBytesMax = 64 << 10;
// After a message the next one is asked for again and again for so long, before the thread sleeps until one comes.
constexpr std::chrono::microseconds kAskingMax(100);

// Batches that are computed together, at most, and values of the largest that are: copies of more take so long that
// launches and waits between them do not show.
constexpr size_t kTogetherMax = 16;
constexpr uint64_t kTogetherBatchBytesMax = 256 << 10;

// A batch that has come and is not computed yet.
struct WaitingRun {
  std::shared_ptr<const RunMessage> message;  // `batch` points into it
  std::shared_ptr<const Plan> plan;
  UnitBatch batch;
  std::shared_ptr<std::atomic<bool>> cancelled;

  uint64_t ValueBytes() const {
    return plan->ElementsOf(batch.begin_unit, batch.end_unit) * SizeBytes(plan->values_dtype);
  }
  bool IsSmall() const { return ValueBytes() <= kSmallBatchBytesMax; }
  bool MayJoin() const { return ValueBytes() <= kTogetherBatchBytesMax; }
  // In the slots.
  uint64_t Bytes() const {
    const Pass& pass = plan->passes[batch.pass];
    uint64_t bytes = 0;
    for (const auto* segments : {&pass.inputs, &pass.outputs}) {
      for (const SegmentLayout& segment : *segments) {
        if (segment.whole_tensor()) continue;
        const auto [begin, end] = plan->BytesOf(segment, batch.begin_unit, batch.end_unit);
        bytes += end - begin;
      }
    }
    return bytes;
  }
};

// The slots' memory, mapped from the descriptor that came with Start.
class MappedSlots {
 public:
  static absl::StatusOr<std::unique_ptr<MappedSlots>> Map(const StartMessage& start, const FileDescriptor& memory) {
    const auto bytes = CheckedMul(start.slot_bytes, start.slots);
    struct stat file{};
    if (!bytes.has_value() || *bytes == 0 || !memory.is_open() || fstat(memory.get(), &file) != 0 ||
        static_cast<uint64_t>(file.st_size) != *bytes) {
      return absl::InvalidArgumentError("the slots that came with Start are not as long as it says");
    }
    void* const data = mmap(nullptr, *bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
    if (data == MAP_FAILED) return absl::ResourceExhaustedError("the slots cannot be mapped");
    return std::unique_ptr<MappedSlots>(
        new MappedSlots({static_cast<std::byte*>(data), start.slot_bytes, start.slots}));
  }
  ~MappedSlots() { munmap(memory_.data, memory_.bytes()); }
  MappedSlots(const MappedSlots&) = delete;
  MappedSlots& operator=(const MappedSlots&) = delete;

  const SlotMemory& memory() const { return memory_; }

 private:
  explicit MappedSlots(const SlotMemory& memory) : memory_(memory) {}
  const SlotMemory memory_;
};

class Worker {
 public:
  Worker(const MessageSocket& socket, WorkerDevice& device, const SlotMemory& slots, uint32_t units_in_flight)
      : socket_(socket),
        device_(device),
        slots_(slots),
        units_in_flight_(units_in_flight),
        jobs_max_(size_t{kWorkerBatchesPerUnit + 1} * units_in_flight),
        threads_(units_in_flight) {}
  ~Worker() { CancelAll(); }

  absl::Status Serve() {
    while (true) {
      // A small batch is computed here, unless others came with it: those are for the threads, together.
      auto received = small_runs_ == 0 ? NextMessage() : socket_.TryReceive();
      if (absl::IsUnavailable(received.status())) return absl::OkStatus();
      if (!received.ok()) return received.status();
      if (received->has_value()) {
        if (std::holds_alternative<ShutdownMessage>((*received)->message)) return absl::OkStatus();
        QUANTD_RETURN_IF_ERROR(Take((*received)->message));
      }
      if (!received->has_value() || small_runs_ == kTogetherMax) StartSmallRuns();
    }
  }

 private:
  using CancelFlag = std::shared_ptr<std::atomic<bool>>;

  // Waits for it.
  absl::StatusOr<std::optional<MessageSocket::Received>> NextMessage() const {
    const auto end = std::chrono::steady_clock::now() + kAskingMax;
    do {
      auto received = socket_.TryReceive();
      if (!received.ok() || received->has_value()) return received;
    } while (std::chrono::steady_clock::now() < end);
    return socket_.Receive();
  }

  absl::Status Take(WorkerMessage& message) {
    if (auto* plan = std::get_if<OpenPlanMessage>(&message)) return OpenPlan(*plan);
    if (auto* run = std::get_if<RunMessage>(&message)) return StartRun(std::move(*run));
    if (const auto* cancel = std::get_if<CancelMessage>(&message)) return Cancel(cancel->id);
    if (const auto* probe = std::get_if<ProbeMessage>(&message)) return StartProbe(probe->id);
    if (std::holds_alternative<TrimMessage>(message)) {
      device_.Trim();
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError("a message came that is not for a worker");
  }

  absl::Status OpenPlan(const OpenPlanMessage& message) {
    if (message.plan_slot >= plans_.size()) return absl::InvalidArgumentError("there is no such place for a plan");
    QUANTD_ASSIGN_OR_RETURN(const Scheme scheme, ResolveScheme(message.scheme));
    QUANTD_ASSIGN_OR_RETURN(Plan plan,
                            MakePlan(scheme, message.direction, message.values_dtype, message.shape, message.known));
    plans_[message.plan_slot] = std::make_shared<const Plan>(std::move(plan));
    return absl::OkStatus();
  }

  absl::Status StartRun(RunMessage message) {
    if (message.plan_slot >= plans_.size() || plans_[message.plan_slot] == nullptr) {
      return absl::InvalidArgumentError("a run names a plan that is not open");
    }
    QUANTD_ASSIGN_OR_RETURN(CancelFlag cancelled, AddJob(message.id));
    WaitingRun run{.plan = plans_[message.plan_slot], .cancelled = std::move(cancelled)};
    run.message = std::make_shared<const RunMessage>(std::move(message));
    QUANTD_ASSIGN_OR_RETURN(run.batch, ToBatch(*run.message, *run.plan, slots_));
    const bool is_small = run.IsSmall();
    {
      absl::MutexLock lock(&mutex_);
      waiting_.push_back(std::move(run));
    }
    if (is_small) {
      ++small_runs_;
    } else {
      threads_.Submit({}, [this] { ComputeWaiting(units_in_flight_); });
    }
    return absl::OkStatus();
  }

  void StartSmallRuns() {
    size_t count = std::exchange(small_runs_, 0);
    if (count == 0) return;
    if (count == 1) threads_.TryRunHere([this, &count] { count -= std::min(count, ComputeWaiting(1)); });
    for (size_t i = 0; i < count; ++i) threads_.Submit({}, [this] { ComputeWaiting(units_in_flight_); });
  }

  // An even share of what waits, where `sharers` compute; nothing if others have taken it meanwhile. How many it was:
  // it is called at least once for each run that waits.
  size_t ComputeWaiting(uint32_t sharers) {
    const std::vector<WaitingRun> share = TakeShare(sharers);
    if (share.empty()) return 0;
    std::vector<BatchRun> runs;
    runs.reserve(share.size());
    for (const WaitingRun& run : share) runs.push_back({*run.plan, run.batch, *run.cancelled});
    device_.backend()->RunTogether(runs);
    const bool is_short = std::ranges::any_of(runs, [](const BatchRun& run) { return IsOutOfMemory(run); });
    if (is_short) device_.Trim();
    for (size_t i = 0; i < runs.size(); ++i) {
      BatchRun& run = runs[i];
      if (IsOutOfMemory(run)) run.result = device_.backend()->Run(run.plan, run.batch, run.cancelled);
      Answer(share[i].message->id, run.result.status(), run.result.ok() ? *run.result : BatchResult());
    }
    return share.size();
  }
  static bool IsOutOfMemory(const BatchRun& run) { return absl::IsResourceExhausted(run.result.status()); }

  // From the first on. Small ones never wait for large ones, and what may not join is alone.
  std::vector<WaitingRun> TakeShare(uint32_t sharers) {
    absl::MutexLock lock(&mutex_);
    std::vector<WaitingRun> share;
    const size_t count_max = std::min((waiting_.size() + sharers - 1) / sharers, kTogetherMax);
    uint64_t bytes = 0;
    while (share.size() < count_max) {
      WaitingRun& next = waiting_.front();
      bytes += next.Bytes();
      if (!share.empty() && (!next.MayJoin() || !share[0].MayJoin() || next.IsSmall() != share[0].IsSmall() ||
                             bytes > device_.together_bytes_max())) {
        break;
      }
      share.push_back(std::move(next));
      waiting_.pop_front();
    }
    return share;
  }

  absl::Status StartProbe(uint64_t id) {
    QUANTD_RETURN_IF_ERROR(AddJob(id).status());
    threads_.SubmitFirst([this, id] { Answer(id, SelfTest(*device_.backend()), {}); });
    return absl::OkStatus();
  }

  absl::StatusOr<CancelFlag> AddJob(uint64_t id) {
    absl::MutexLock lock(&mutex_);
    if (jobs_.size() >= jobs_max_) return absl::ResourceExhaustedError("more runs at once than were agreed on");
    const auto [job, added] = jobs_.emplace(id, std::make_shared<std::atomic<bool>>(false));
    if (!added) return absl::InvalidArgumentError("a run has the id of another one");
    return job->second;
  }

  // A run that is no longer there was answered meanwhile.
  absl::Status Cancel(uint64_t id) {
    absl::MutexLock lock(&mutex_);
    if (const auto job = jobs_.find(id); job != jobs_.end()) job->second->store(true);
    return absl::OkStatus();
  }

  void CancelAll() {
    absl::MutexLock lock(&mutex_);
    for (const auto& [id, cancelled] : jobs_) cancelled->store(true);
  }

  void Answer(uint64_t id, const absl::Status& status, const BatchResult& result) {
    {
      absl::MutexLock lock(&mutex_);
      jobs_.erase(id);
    }
    // Whoever does not get it is gone, which Serve notices.
    socket_.Send(ResultMessage{id, status.code(), std::string(status.message()), result}).IgnoreError();
  }

  const MessageSocket& socket_;
  WorkerDevice& device_;
  const SlotMemory slots_;
  const uint32_t units_in_flight_;
  const size_t jobs_max_;
  std::array<std::shared_ptr<const Plan>, kWorkerPlanSlots> plans_;
  absl::Mutex mutex_;
  std::map<uint64_t, CancelFlag> jobs_ ABSL_GUARDED_BY(mutex_);
  std::deque<WaitingRun> waiting_ ABSL_GUARDED_BY(mutex_);  // those of jobs_ that nobody computes yet
  size_t small_runs_ = 0;                                   // of those, what the reading thread has not started yet
  ComputePool threads_;                                     // after all that its work uses
};

absl::StatusOr<uint32_t> OpenAndCheck(const StartMessage& start, const SlotMemory& slots, WorkerDevice& device) {
  if (start.units_in_flight == 0 || start.units_in_flight > kWorkerUnitsInFlightMax) {
    return absl::InvalidArgumentError("Start asks for no units in flight, or too many");
  }
  QUANTD_ASSIGN_OR_RETURN(const uint32_t units, device.Open(start, std::span(slots.data, slots.bytes())));
  QUANTD_RETURN_IF_ERROR(SelfTest(*device.backend()));
  return units;
}

}  // namespace

absl::Status ServeDevice(const MessageSocket& socket, std::unique_ptr<WorkerDevice> device) {
  auto received = socket.Receive();
  if (!received.ok()) return received.status();
  const auto* const start = std::get_if<StartMessage>(&received->message);
  if (start == nullptr) return absl::InvalidArgumentError("the first message is not Start");
  QUANTD_ASSIGN_OR_RETURN(const auto slots, MappedSlots::Map(*start, received->attached));
  const std::unique_ptr<WorkerDevice> opened = std::move(device);  // dies before the slots are unmapped
  const auto units_in_flight = OpenAndCheck(*start, slots->memory(), *opened);
  if (!units_in_flight.ok()) {
    const absl::Status& status = units_in_flight.status();
    socket.Send(FailedMessage{status.code(), std::string(status.message())}).IgnoreError();
    return status;
  }
  QUANTD_RETURN_IF_ERROR(socket.Send(ReadyMessage{std::string(opened->backend()->target()), *units_in_flight}));
  return Worker(socket, *opened, slots->memory(), *units_in_flight).Serve();
}

}  // namespace quantd::server
