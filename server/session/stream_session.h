// One bulk stream: any number of tensors, one after another.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "kernels/backend/backend.h"
#include "kernels/base/clock.h"
#include "server/session/credit_budget.h"
#include "server/session/device_pool.h"
#include "server/session/frame.h"
#include "server/session/frame_cursor.h"
#include "server/session/limits.h"
#include "server/session/load_budget.h"
#include "server/session/principal.h"
#include "server/session/region_allocator.h"
#include "server/session/slot_arena.h"
#include "server/session/spool.h"
#include "server/session/stream_job.h"
#include "server/session/tensor_plan.h"
#include "server/session/turn.h"
#include "server/session/upload_store.h"

namespace quantd::server {

// The transport, as a session sees it. The session calls it under its own lock, so an implementation must not call back
// before it has returned.
class StreamIo {
 public:
  virtual ~StreamIo() = default;
  // Asks for the next frame; answered by OnFrame or OnHalfClose. Never two at once.
  virtual void Read() = 0;
  // Sends a frame; answered by OnWritten when the transport can take the next. Never two at once.
  virtual void Write(ResponseFrame frame) = 0;
  // Ends the stream; the last call.
  virtual void Finish(absl::Status status) = 0;
  // Cuts off a peer that does not read. Answered by OnCancelled.
  virtual void Abort() = 0;
};

// Values of a run that is computed on the thread that brought its input, if a processor is free: some microseconds.
inline constexpr uint64_t kComputedHereBytesMax = 16 << 10;

// Whose session it is, and what sessions share, which outlives them.
struct SessionEnvironment {
  Direction direction{};
  const Limits& limits;
  Backend& backend;
  SlotArena& arena;
  PlanCache& plans;
  SpoolBudget& spool_budget;
  CreditBudget& credit_budget;
  LoadBudget& load_budget;
  const Clock& clock;
  // Runs a function on a computing thread; never inside the call.
  std::function<void(const Turn&, std::function<void()>)> submit;
  // Runs a function before it returns, unless all computing threads are busy: then it returns false. May be null.
  std::function<bool(const std::function<void()>&)> run_here;
  DevicePool* devices = nullptr;  // null: there is only the CPU
  // Begins what is done to a tensor; the error is the tensor's. Empty: TensorJob::Start in `direction`.
  std::function<absl::StatusOr<std::unique_ptr<StreamJob>>(const TensorRequest&)> start_job;
  Principal principal;
  absl::Time deadline = absl::InfiniteFuture();  // of the whole stream
  UploadStore* uploads = nullptr;                // where jobs keep what survives a stream; null: nothing does
};

// For the log line.
struct StreamTotals {
  absl::Status first_error;  // of a tensor or of the stream
  uint64_t tensors_done = 0;
  uint64_t tensors_failed = 0;
  uint64_t bytes_received = 0;
  uint64_t bytes_sent = 0;
  absl::Duration receive_time, queue_time, compute_time;
};

// Reads a frame only when all of the last one has a place in slots and StreamJob::has_room_for_input, so that the
// memory of a stream is bounded by its slots, as much again in frames whose input is still to be copied, and one frame.
// Writes one frame at a time. Results leave in the order of the tensors. Safe from any thread; held by shared_ptr,
// because computations outlive streams.
class StreamSession : public std::enable_shared_from_this<StreamSession> {
 public:
  // `io` must live until Detach.
  StreamSession(SessionEnvironment environment, StreamIo& io);

  void Start();
  // The error ends the stream: a frame that could not be taken apart.
  void OnFrame(absl::StatusOr<RequestFrame> frame);
  void OnHalfClose();
  void OnWritten();
  // The client is gone, or its deadline is over: computations stop within one unit, slots go back.
  void OnCancelled();
  // Refuses further tensors and ends the stream after the present one.
  void BeginDrain();
  // Fails the tensors under way with UNAVAILABLE, reason SERVER_DRAINING, whose metadata says from where on they can be
  // sent to another server, and ends the stream as soon as the transport has taken what there is.
  void HandBack();
  // Ends the stream if the peer has kept it waiting for longer than limits.stall_max, and fails its tensors if others
  // have kept it without a slot for longer than limits.slot_wait_max, and gives up an upload that another stream goes
  // on with. To be called now and then.
  void CheckStall();
  // The transport is gone: no more calls to it.
  void Detach();

  StreamTotals totals() const;

 private:
  struct Tensor {
    uint64_t seq = 0;
    absl::Time started_at;
    std::optional<CreditBudget::Grant> window;
    std::optional<LoadBudget::Load> load;
    std::unique_ptr<StreamJob> job;  // null: failed before it began
    absl::Status error;              // failed, and not yet said so
    uint64_t consumed_bytes = 0;     // when it failed
    bool received_header = false;
    bool accept_pending = false;
    // Everything goes out as one message: the input came as one, and the output fits.
    bool one_message = false;
  };

  absl::StatusOr<std::unique_ptr<StreamJob>> StartJob(const TensorRequest& request) const;
  void BeginTensor() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckFrame(const RequestFrame& frame) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Submit(StreamJob& job, uint64_t seq, const std::shared_ptr<Run>& run) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool ComputeHere(StreamJob& job, Run& run) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnComputed(uint64_t seq, Run& run);
  void OnSlot(SlotPtr slot);

  void Pump() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeFrame() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndFrame() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void GiveUpUploads() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void GiveUpOnSlots() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void GiveRegions() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::optional<Region> NewRegion(uint64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SubmitRuns() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CollectResults() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool CollectFrom(Tensor& tensor) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  ResponseFrame& FrameWithRoom(const Tensor& tensor, uint64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Fail(Tensor& tensor, absl::Status status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AddTimes(const SummaryInfo& summary) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteMore() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ReadMore() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FinishIfOver() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndStream(absl::Status status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ForgetFinishedUpload() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void DropTensors() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void DropEverything() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const SessionEnvironment environment_;
  const std::shared_ptr<SlotAccount> account_;

  mutable absl::Mutex mutex_;
  StreamIo* io_ ABSL_GUARDED_BY(mutex_);  // null: gone, or finished

  // Input.
  uint64_t last_seq_ ABSL_GUARDED_BY(mutex_) = 0;
  bool in_tensor_ ABSL_GUARDED_BY(mutex_) = false;   // between a header and its `last`
  bool discarding_ ABSL_GUARDED_BY(mutex_) = false;  // the tensor in the middle has failed
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool half_closed_ ABSL_GUARDED_BY(mutex_) = false;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<FrameCursor> frame_ ABSL_GUARDED_BY(mutex_);

  // Work.
  std::deque<Tensor> tensors_ ABSL_GUARDED_BY(mutex_);  // the first one's results are next; the last one receives
  // Id of an upload whose summary may be lost: until the client's half-close says that it has come, or the next tensor
  // comes. Empty: none.
  std::string finished_upload_ ABSL_GUARDED_BY(mutex_);
  RegionAllocator regions_ ABSL_GUARDED_BY(mutex_);
  SlotPtr slot_ ABSL_GUARDED_BY(mutex_);  // came for a region and waits to be used
  bool waiting_for_slot_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Time waiting_since_ ABSL_GUARDED_BY(mutex_);
  bool again_ ABSL_GUARDED_BY(mutex_) = false;  // something happened in Pump that an earlier step of it must see

  // Output.
  std::deque<ResponseFrame> outbox_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<absl::Status> final_status_
      ABSL_GUARDED_BY(mutex_);  // sent when the transport has taken the last frame

  absl::Time reading_since_ ABSL_GUARDED_BY(mutex_);  // the latest: asked for a frame, answered, computed
  absl::Time data_since_ ABSL_GUARDED_BY(mutex_);     // the latest frame that was not empty
  absl::Time writing_since_ ABSL_GUARDED_BY(mutex_);
  StreamTotals totals_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace quantd::server
