#include "server/worker/gpu_worker.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/base/status_macros.h"

namespace quantd::server {
namespace {

// How soon a cancelled batch is said to be, and the longest sleep: a clock that is not the system's may have moved.
constexpr absl::Duration kCancelPoll = absl::Milliseconds(20);
constexpr absl::Duration kLongestPoll = absl::Minutes(1);
// Within which a worker that was told to end has ended.
constexpr absl::Duration kExitDeadline = absl::Seconds(5);
// Batches whose answer their sender reads itself, and how long it asks for it again and again.
constexpr uint64_t kSmallBatchBytesMax = 64 << 10;
constexpr std::chrono::microseconds kReadingMax(100);

absl::Status Lost(const std::string& message) {
  return MakeError(absl::StatusCode::kUnavailable, reason::kGpuLost, message + ". Try again; the bytes are the same.");
}

absl::Status OutOfMemory(const std::string& message) {
  return MakeError(absl::StatusCode::kResourceExhausted, reason::kGpuMemory,
                   message + ". Send device_policy AUTO, or try again when others have given back GPU memory.");
}

OpenPlanMessage DescriptionOf(const Plan& plan) {
  return {.scheme = FullyResolved(plan.scheme),
          .direction = plan.direction,
          .values_dtype = plan.values_dtype,
          .shape = plan.shape,
          .known = plan.known};
}

const char* RemedyFor(LossKind kind) {
  switch (kind) {
    case LossKind::kCannotStart:
      return "install quantd-gpu-worker beside quantd, set gpu.worker_path, or set gpu.mode to off";
    case LossKind::kNoBudget:
      return "raise gpu.memory_budget_bytes or lower limits.slot_bytes, then restart quantd";
    default:
      return "look at the GPU (nvidia-smi, dmesg for Xid lines), then restart quantd; set gpu.mode to off to serve "
             "without it";
  }
}

int PollTimeoutMs(absl::Duration wait) {
  return static_cast<int>(absl::ToInt64Milliseconds(
      absl::Ceil(std::clamp(wait, absl::ZeroDuration(), kLongestPoll), absl::Milliseconds(1))));
}

}  // namespace

std::string_view NameOf(WorkerState state) {
  constexpr std::array<std::string_view, 6> kNames = {"idle", "starting", "serving", "draining", "lost", "quarantined"};
  return kNames[static_cast<size_t>(state)];
}

GpuWorker::GpuWorker(GpuWorkerOptions options, WorkerLauncher launch, const SharedSlots& slots, const Clock& clock,
                     Logger& logger)
    : options_(std::move(options)),
      launch_(std::move(launch)),
      slots_(slots),
      clock_(clock),
      logger_(logger),
      restart_policy_(options_.restart),
      thread_([this] { Watch(); }) {}

GpuWorker::~GpuWorker() {
  {
    absl::MutexLock lock(&mutex_);
    ending_ = true;
  }
  wake_up_.Notify();
  thread_.join();
}

// ---- For everybody ----

std::string_view GpuWorker::target() const {
  absl::MutexLock lock(&mutex_);
  return target_;
}

WorkerState GpuWorker::state() const {
  absl::MutexLock lock(&mutex_);
  return state_;
}

GpuWorkerCounts GpuWorker::counts() const {
  absl::MutexLock lock(&mutex_);
  return counts_;
}

uint32_t GpuWorker::units_in_flight() const {
  absl::MutexLock lock(&mutex_);
  return units_in_flight_;
}

pid_t GpuWorker::pid() const {
  absl::MutexLock lock(&mutex_);
  return process_.has_value() ? process_->pid() : -1;
}

bool GpuWorker::AwaitUnderWay(size_t count, absl::Duration timeout) const {
  absl::MutexLock lock(&mutex_);
  const auto reached = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return pending_.size() == count; };
  return mutex_.AwaitWithTimeout(absl::Condition(&reached), timeout);
}

bool GpuWorker::AwaitState(WorkerState state, absl::Duration timeout) const {
  absl::MutexLock lock(&mutex_);
  const auto reached = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return state_ == state || state_ == WorkerState::kQuarantined;
  };
  mutex_.AwaitWithTimeout(absl::Condition(&reached), timeout);
  return state_ == state;
}

void GpuWorker::Start() {
  {
    absl::MutexLock lock(&mutex_);
    start_wanted_ = state_ == WorkerState::kIdle || state_ == WorkerState::kDraining;
  }
  wake_up_.Notify();
}

absl::StatusOr<BatchResult> GpuWorker::Run(const Plan& plan, const UnitBatch& batch,
                                           const std::atomic<bool>& cancelled) {
  QUANTD_ASSIGN_OR_RETURN(RunMessage message, ToMessage(plan, batch, slots_.memory));
  const auto pending = std::make_shared<Pending>();
  pending->cancelled = &cancelled;
  const uint64_t value_bytes = plan.ElementsOf(batch.begin_unit, batch.end_unit) * SizeBytes(plan.values_dtype);
  QUANTD_ASSIGN_OR_RETURN(const bool reads, SendBatch(plan, std::move(message), pending, value_bytes));
  if (reads) ReadForAMoment(*pending);
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(&pending->done));
  --runs_;
  if (pending->outcome.ok()) {
    ++counts_.batches;
    counts_.value_bytes += value_bytes;
  }
  return std::move(pending->outcome);
}

absl::StatusOr<bool> GpuWorker::SendBatch(const Plan& plan, RunMessage message, const std::shared_ptr<Pending>& pending,
                                          uint64_t value_bytes) {
  absl::MutexLock lock(&mutex_);
  const auto has_place = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return state_ != WorkerState::kServing || runs_ < units_in_flight_ * kWorkerBatchesPerUnit;
  };
  mutex_.Await(absl::Condition(&has_place));
  if (state_ != WorkerState::kServing) {
    return Lost("the GPU's worker is " + std::string(NameOf(state_)));
  }
  pending->deadline = clock_.Now() + options_.unit_deadline;
  message.id = ++last_id_;
  if (absl::Status sent = SendRun(plan, std::move(message)); !sent.ok()) {
    Doubt(std::string(sent.message()));  // it has not seen this batch, which can go elsewhere at once
    wake_up_.Notify();
    return Lost("the GPU's worker takes no messages");
  }
  pending_[last_id_] = pending;
  worked_at_ = clock_.Now();
  worked_since_probe_ = true;
  trimmed_ = false;
  ++runs_;
  if (reader_ != Reader::kNobody) return false;
  if (value_bytes > kSmallBatchBytesMax) {
    LetWatcherRead();
    return false;
  }
  reader_ = Reader::kSender;
  return true;
}

void GpuWorker::ReadForAMoment(const Pending& awaited) {
  const MessageSocket* socket = nullptr;
  {
    absl::MutexLock lock(&mutex_);
    socket = &*socket_;
  }
  const auto end = std::chrono::steady_clock::now() + kReadingMax;
  bool is_done = false;
  while (!is_done && std::chrono::steady_clock::now() < end) {
    auto received = socket->TryReceive();
    if (!received.ok()) break;  // the watching thread finds out why
    if (!received->has_value()) continue;
    absl::MutexLock lock(&mutex_);
    TakeMessage(std::move(received));
    is_done = awaited.done || !IsHeard();
  }
  absl::MutexLock lock(&mutex_);
  reader_ = Reader::kNobody;
  if (!pending_.empty()) LetWatcherRead();
}

// Deadlines are its to look at, from now on.
void GpuWorker::LetWatcherRead() {
  reader_ = Reader::kWatcher;
  wake_up_.Notify();
}

absl::Status GpuWorker::SendRun(const Plan& plan, RunMessage message) {
  const PlanSlots::Place place = plans_.Find(plan);
  if (place.is_new) {
    OpenPlanMessage description = DescriptionOf(plan);
    description.plan_slot = place.slot;
    QUANTD_RETURN_IF_ERROR(socket_->SendNow(std::move(description)));
  }
  message.plan_slot = place.slot;
  return socket_->SendNow(std::move(message));
}

// ---- The thread that watches the process ----

void GpuWorker::Watch() {
  enum { kWakeUp, kGone, kSocket, kCount };
  bool all_is_read = true;
  while (true) {
    std::array<pollfd, kCount> events;
    events.fill({-1, POLLIN, 0});
    events[kWakeUp].fd = wake_up_.descriptor();
    const MessageSocket* socket = nullptr;
    int timeout_ms = 0;
    {
      absl::MutexLock lock(&mutex_);
      if (ending_) break;
      timeout_ms = PollTimeoutMs(LookAtClock(all_is_read) - clock_.Now());
      if (process_.has_value()) events[kGone].fd = process_->gone_descriptor();
      if (IsHeard() && reader_ == Reader::kWatcher) socket = &*socket_;
    }
    if (socket != nullptr) events[kSocket].fd = socket->get();
    poll(events.data(), events.size(), timeout_ms);
    all_is_read = socket != nullptr && events[kSocket].revents == 0;
    if (events[kWakeUp].revents != 0) wake_up_.Clear();
    // The last words of a process that is gone come first: they say why.
    const bool gone = events[kGone].revents != 0;
    bool silent = events[kSocket].revents == 0;
    if (!silent) {
      auto received = socket->TryReceive();
      silent = gone && !received.ok();
      absl::MutexLock lock(&mutex_);
      if (!silent) TakeMessage(std::move(received));
    }
    if (gone && silent) {
      absl::MutexLock lock(&mutex_);
      OnGone();
    }
  }
  std::optional<ChildProcess> last;  // dies without the lock
  {
    absl::MutexLock lock(&mutex_);
    if (process_.has_value()) last.emplace(*std::move(process_));
  }
}

absl::Time GpuWorker::LookAtClock(bool all_is_read) {
  const absl::Time now = clock_.Now();
  const bool to_launch = state_ == WorkerState::kIdle ? start_wanted_ : IsBetweenProcesses() && now >= restart_at_;
  if (to_launch) Launch();
  if (IsBetweenProcesses()) return restart_at_;
  if (state_ == WorkerState::kServing) return LookAtServing(now, all_is_read);
  if (state_ == WorkerState::kStarting) {
    const absl::Time deadline = state_since_ + options_.start_deadline;
    if (now >= deadline) Doubt("it was not ready after " + absl::FormatDuration(options_.start_deadline));
    return deadline;
  }
  if (state_ == WorkerState::kDraining) {
    if (now >= state_since_ + kExitDeadline) process_->Kill();
    return state_since_ + kExitDeadline;
  }
  return absl::InfiniteFuture();
}

// What a worker in doubt says is not even read.
bool GpuWorker::IsHeard() const { return state_ == WorkerState::kStarting || state_ == WorkerState::kServing; }

bool GpuWorker::IsBetweenProcesses() const { return state_ == WorkerState::kLost && !process_.has_value(); }

absl::Time GpuWorker::LookAtServing(absl::Time now, bool all_is_read) {
  absl::Time next = now + kCancelPoll;
  if (reader_ == Reader::kSender) return next;
  if (pending_.empty()) return LookAtIdleness(now);
  for (auto& [id, pending] : pending_) {
    if (now >= pending->deadline && all_is_read) {
      Doubt("it did not answer within " + absl::FormatDuration(options_.unit_deadline));
      return absl::InfiniteFuture();
    }
    next = std::min(next, pending->deadline);
    if (pending->cancelled == nullptr || pending->cancel_sent || !pending->cancelled->load()) continue;
    pending->cancel_sent = true;
    SendOrDoubt(CancelMessage{id});
  }
  return next;
}

absl::Time GpuWorker::LookAtIdleness(absl::Time now) {
  if (now >= worked_at_ + options_.idle_exit) {
    SetState(WorkerState::kDraining);
    SendOrDoubt(ShutdownMessage{});
    return now + kExitDeadline;
  }
  if (worked_since_probe_ && now >= probed_at_ + options_.probe_interval) {
    worked_since_probe_ = false;
    probed_at_ = now;
    const auto probe = std::make_shared<Pending>();
    probe->deadline = now + options_.unit_deadline;
    pending_[++last_id_] = probe;
    reader_ = Reader::kWatcher;
    SendOrDoubt(ProbeMessage{last_id_});
    return now + kCancelPoll;
  }
  absl::Time next = worked_at_ + options_.idle_exit;
  if (worked_since_probe_) next = std::min(next, probed_at_ + options_.probe_interval);
  if (trimmed_) return next;
  if (now < worked_at_ + options_.idle_trim) return std::min(next, worked_at_ + options_.idle_trim);
  trimmed_ = true;
  SendOrDoubt(TrimMessage{});
  return next;
}

void GpuWorker::Launch() {
  start_wanted_ = false;
  doubt_.clear();
  loss_ = LossKind::kFault;
  plans_ = PlanSlots();
  SetState(WorkerState::kStarting);
  auto launched = launch_();
  if (!launched.ok()) {
    const bool cannot = absl::IsNotFound(launched.status());
    return AfterLoss(cannot ? LossKind::kCannotStart : LossKind::kFault, std::string(launched.status().message()));
  }
  process_.emplace(std::move(launched->process));
  socket_.emplace(std::move(launched->socket));
  reader_ = Reader::kWatcher;
  const StartMessage start{.slot_bytes = slots_.memory.slot_bytes,
                           .slots = slots_.memory.slots,
                           .units_in_flight = options_.units_in_flight_max,
                           .memory_budget_bytes = options_.memory_budget_bytes,
                           .device = options_.device};
  const absl::Status sent = socket_->SendNow(start, slots_.descriptor);
  if (!sent.ok()) Doubt(std::string(sent.message()));
}

void GpuWorker::TakeMessage(absl::StatusOr<std::optional<MessageSocket::Received>> received) {
  if (!IsHeard()) return;
  if (!received.ok()) return Doubt(std::string(received.status().message()));
  if (!received->has_value()) return;
  WorkerMessage& message = (*received)->message;
  if (const auto* failed = std::get_if<FailedMessage>(&message); failed != nullptr) {
    if (failed->code == absl::StatusCode::kResourceExhausted) loss_ = LossKind::kNoMemory;
    if (failed->code == absl::StatusCode::kFailedPrecondition) loss_ = LossKind::kNoBudget;
    return Doubt("it cannot serve: " + failed->message);
  }
  const auto* const ready = std::get_if<ReadyMessage>(&message);
  if (ready != nullptr && state_ == WorkerState::kStarting) return TakeReady(*ready);
  auto* const result = std::get_if<ResultMessage>(&message);
  if (result != nullptr && state_ == WorkerState::kServing) return TakeResult(*result);
  Doubt("it sent a message that is not its to send now");
}

void GpuWorker::TakeReady(const ReadyMessage& ready) {
  if (ready.units_in_flight == 0 || ready.units_in_flight > options_.units_in_flight_max) {
    return Doubt("it is ready for no batches, or for more than it was asked for");
  }
  if (target_.empty()) target_ = ready.target;
  units_in_flight_ = ready.units_in_flight;
  ready_at_ = worked_at_ = probed_at_ = clock_.Now();
  worked_since_probe_ = false;
  trimmed_ = false;
  reader_ = Reader::kNobody;
  SetState(WorkerState::kServing);
}

void GpuWorker::TakeResult(ResultMessage& result) {
  const auto found = pending_.find(result.id);
  if (found == pending_.end()) return Doubt("it answered what was not asked");
  const std::shared_ptr<Pending> pending = found->second;
  switch (result.code) {
    case absl::StatusCode::kOk:
      pending->outcome = result.result;
      break;
    case absl::StatusCode::kResourceExhausted:
      pending->outcome = OutOfMemory("the GPU has too little memory: " + result.message);
      break;
    case absl::StatusCode::kCancelled:
      if (!pending->cancel_sent) return Doubt("it cancelled a batch by itself");
      pending->outcome = absl::CancelledError(result.message);
      break;
    default:
      return Doubt("its device failed: " + result.message);
  }
  pending->done = true;
  pending_.erase(found);
  if (pending_.empty() && reader_ == Reader::kWatcher) reader_ = Reader::kNobody;
  worked_at_ = clock_.Now();
}

void GpuWorker::Doubt(const std::string& why) {
  if (!doubt_.empty()) return;
  doubt_ = why;
  if (process_.has_value()) process_->Kill();
  if (state_ != WorkerState::kDraining) SetState(WorkerState::kLost);
}

// Only now does nobody else touch the memory of what it was given.
void GpuWorker::OnGone() {
  const auto is_left = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return reader_ != Reader::kSender; };
  mutex_.Await(absl::Condition(&is_left));
  if (IsHeard() && reader_ == Reader::kNobody) {
    reader_ = Reader::kWatcher;  // it may have said why
    return;
  }
  const std::string how = process_->Reap();
  process_.reset();
  socket_.reset();
  for (auto& [id, pending] : pending_) {
    pending->outcome = Lost("the GPU's worker was lost");
    pending->done = true;
  }
  pending_.clear();
  if (state_ == WorkerState::kDraining) {
    units_in_flight_ = 0;
    return SetState(WorkerState::kIdle);
  }
  AfterLoss(loss_, doubt_.empty() ? "it ended with " + how : doubt_ + " (killed: " + how + ")");
}

void GpuWorker::AfterLoss(LossKind kind, const std::string& how) {
  ++counts_.losses;
  const auto delay =
      restart_policy_.AfterLoss(kind, units_in_flight_ > 0 ? clock_.Now() - ready_at_ : absl::ZeroDuration());
  units_in_flight_ = 0;
  SetState(delay.has_value() ? WorkerState::kLost : WorkerState::kQuarantined);
  if (delay.has_value()) {
    restart_at_ = clock_.Now() + *delay;
    logger_.Write(LogLevel::kWarning, "gpu worker lost",
                  {{"device", options_.device}, {"why", how}, {"restart_in", absl::FormatDuration(*delay)}});
    return;
  }
  logger_.Write(LogLevel::kError, "gpu worker quarantined",
                {{"device", options_.device}, {"why", how}, {"remedy", RemedyFor(kind)}});
}

void GpuWorker::SendOrDoubt(WorkerMessage message) {
  const absl::Status sent = socket_->SendNow(std::move(message));
  if (!sent.ok()) Doubt(std::string(sent.message()));
}

void GpuWorker::SetState(WorkerState state) {
  if (state == state_) return;
  state_ = state;
  state_since_ = clock_.Now();
  if (options_.on_state != nullptr) options_.on_state(state);
  logger_.Write(LogLevel::kInfo, "gpu worker",
                {{"device", options_.device},
                 {"state", std::string(NameOf(state))},
                 {"pid", static_cast<uint64_t>(process_.has_value() ? process_->pid() : 0)}});
}

}  // namespace quantd::server
