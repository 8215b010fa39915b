#include "server/session/stream_session.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "server/session/tensor_job.h"

namespace quantd::server {
namespace {

// Tensors that are under way at once on one stream, and frames that wait to be sent: small ones, for large ones are
// bounded by their slots.
constexpr size_t kTensorsMax = 64;
constexpr size_t kOutboxFramesMax = 64;
constexpr size_t kPiecesPerFrameMax = 64;
// How long empty frames keep a tensor alive, which holds a slot meanwhile.
constexpr int kKeepAliveStallsMax = 10;

absl::Status Draining() {
  return MakeError(absl::StatusCode::kUnavailable, reason::kServerDraining,
                   "the server is shutting down and takes no further tensors. Send this one to another replica, or try "
                   "again in a few seconds.");
}

// The client has, or will have, all results before.
absl::Status HandedBack(const StreamJob& job) {
  const std::string element = std::to_string(job.resume_element());
  return MakeError(
      absl::StatusCode::kUnavailable, reason::kServerDraining,
      "the server is shutting down and cannot finish this tensor. Send the range that begins with element " + element +
          " to another replica, or again in a few seconds.",
      {{"resume_element", element}, {"consumed_bytes", std::to_string(job.consumed_bytes())}});
}

absl::Status CheckDevices(const DevicePool* devices) {
  if (devices != nullptr) return devices->CheckUsable();
  return MakeError(absl::StatusCode::kFailedPrecondition, reason::kNoGpu,
                   "this server has no GPU. Send device_policy AUTO or CPU; the bytes are the same.");
}

}  // namespace

StreamSession::StreamSession(SessionEnvironment environment, StreamIo& io)
    : environment_(std::move(environment)),
      account_(std::make_shared<SlotAccount>(environment_.limits.slots_per_stream_max, environment_.principal)),
      io_(&io) {}

// ---- What happens to the stream ----

void StreamSession::Start() {
  absl::MutexLock lock(&mutex_);
  Pump();
}

void StreamSession::OnFrame(absl::StatusOr<RequestFrame> frame) {
  absl::MutexLock lock(&mutex_);
  reading_ = false;
  if (io_ == nullptr || final_status_.has_value()) return;
  if (!frame.ok()) return EndStream(frame.status());
  if (absl::Status status = CheckFrame(*frame); !status.ok()) return EndStream(std::move(status));
  totals_.bytes_received += frame->data_bytes;
  if (frame->data_bytes > 0 || !in_tensor_) data_since_ = environment_.clock.Now();
  frame_.emplace(*std::move(frame));
  if (!in_tensor_) BeginTensor();
  Pump();
}

void StreamSession::OnHalfClose() {
  absl::MutexLock lock(&mutex_);
  reading_ = false;
  half_closed_ = true;
  if (io_ == nullptr) return;
  // The transport may say later than the client that it has taken the summary.
  if (outbox_.empty()) ForgetFinishedUpload();
  if (in_tensor_ && !discarding_) {
    return EndStream(InvalidArgument(reason::kIncompleteTensor, "the stream was half-closed inside tensor " +
                                                                    std::to_string(last_seq_) +
                                                                    ". Set `last` in its last frame first."));
  }
  in_tensor_ = false;
  discarding_ = false;
  Pump();
}

void StreamSession::OnWritten() {
  absl::MutexLock lock(&mutex_);
  writing_ = false;
  reading_since_ = data_since_ = environment_.clock.Now();  // only now can the client act on it
  Pump();
}

void StreamSession::OnCancelled() {
  absl::MutexLock lock(&mutex_);
  if (io_ == nullptr) return;
  DropEverything();
  if (!final_status_.has_value()) {
    final_status_ = absl::CancelledError("the client cancelled, left, or its deadline passed");
  }
  if (totals_.first_error.ok()) totals_.first_error = *final_status_;
  std::exchange(io_, nullptr)->Finish(*final_status_);
}

void StreamSession::BeginDrain() {
  absl::MutexLock lock(&mutex_);
  draining_ = true;
  Pump();
}

void StreamSession::HandBack() {
  absl::MutexLock lock(&mutex_);
  if (io_ == nullptr || final_status_.has_value()) return;
  draining_ = true;
  CollectResults();
  for (Tensor& tensor : tensors_) {
    if (tensor.job != nullptr) Fail(tensor, HandedBack(*tensor.job));
  }
  CollectResults();
  EndStream(Draining());
}

void StreamSession::CheckStall() {
  absl::MutexLock lock(&mutex_);
  if (io_ == nullptr) return;
  GiveUpUploads();
  if (io_ == nullptr) return;
  const absl::Time now = environment_.clock.Now();
  const absl::Duration stall_max = environment_.limits.stall_max;
  if (waiting_for_slot_ && now - waiting_since_ > environment_.limits.slot_wait_max) GiveUpOnSlots();
  if (io_ == nullptr) return;
  if (writing_) {
    if (now - writing_since_ <= stall_max) return;
    final_status_ = MakeError(absl::StatusCode::kDeadlineExceeded, reason::kStalled,
                              "the client did not read its results for " + absl::FormatDuration(stall_max) + ".");
    io_->Abort();  // the status itself would wait behind the results that nobody reads
    return;
  }
  const bool work_is_idle = std::all_of(tensors_.begin(), tensors_.end(), [](const Tensor& tensor) {
    return tensor.job == nullptr || tensor.job->idle();
  });
  if (!reading_ || !in_tensor_ || !work_is_idle) return;
  if (now - reading_since_ > stall_max || now - data_since_ > kKeepAliveStallsMax * stall_max) {
    EndStream(MakeError(absl::StatusCode::kDeadlineExceeded, reason::kStalled,
                        "nothing came inside tensor " + std::to_string(last_seq_) + " for " +
                            absl::FormatDuration(stall_max) +
                            ". Send the tensor again; empty frames keep a stream alive for " +
                            absl::FormatDuration(kKeepAliveStallsMax * stall_max) + "."));
  }
}

void StreamSession::Detach() {
  absl::MutexLock lock(&mutex_);
  io_ = nullptr;
  DropEverything();
}

StreamTotals StreamSession::totals() const {
  absl::MutexLock lock(&mutex_);
  return totals_;
}

// ---- Input ----

// What makes it impossible to go on with the stream. Everything else is the tensor's affair.
absl::Status StreamSession::CheckFrame(const RequestFrame& frame) const {
  const uint64_t expected_seq = in_tensor_ ? last_seq_ : last_seq_ + 1;
  if (frame.tensor_seq != expected_seq) {
    return InvalidArgument(reason::kUnexpectedTensor,
                           "a frame has tensor_seq " + std::to_string(frame.tensor_seq) + " where " +
                               std::to_string(expected_seq) +
                               " is expected. Count tensors from 1 and end each with `last`.",
                           {{"expected_tensor_seq", std::to_string(expected_seq)}});
  }
  uint64_t bytes = 0;
  for (const InputPiece& piece : frame.pieces) bytes += piece.length;
  if (bytes != frame.data_bytes) {
    return InvalidArgument(reason::kMalformedFrame, "the pieces of a frame sum to " + std::to_string(bytes) +
                                                        " bytes, its data has " + std::to_string(frame.data_bytes) +
                                                        ". Make them equal.");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<StreamJob>> StreamSession::StartJob(const TensorRequest& request) const {
  if (environment_.start_job) return environment_.start_job(request);
  return TensorJob::Start(request, environment_.direction,
                          {environment_.limits, environment_.plans, environment_.spool_budget, environment_.clock},
                          {environment_.uploads, environment_.principal});
}

void StreamSession::BeginTensor() {
  const RequestFrame& frame = frame_->frame();
  ForgetFinishedUpload();
  ++last_seq_;
  in_tensor_ = true;
  discarding_ = false;
  Tensor& tensor = tensors_.emplace_back();
  tensor.seq = last_seq_;
  tensor.started_at = environment_.clock.Now();
  if (draining_) return Fail(tensor, Draining());
  if (!frame.header.has_value()) {
    return Fail(tensor, InvalidArgument(reason::kMalformedFrame,
                                        "the first frame of tensor " + std::to_string(last_seq_) +
                                            " has no header. Send it with name, dtype, shape and scheme."));
  }
  if (!frame.header->ok()) return Fail(tensor, frame.header->status());
  if ((*frame.header)->device_policy == DevicePolicy::kGpu) {
    if (absl::Status usable = CheckDevices(environment_.devices); !usable.ok()) return Fail(tensor, std::move(usable));
  }
  auto job = StartJob(**frame.header);
  if (!job.ok()) return Fail(tensor, job.status());
  auto load = environment_.load_budget.Enter(environment_.principal, (*job)->input_bytes(),
                                             environment_.deadline - tensor.started_at);
  if (!load.ok()) return Fail(tensor, load.status());
  tensor.job = *std::move(job);
  tensor.load.emplace(*std::move(load));
  tensor.window.emplace(environment_.credit_budget.Take(environment_.principal, tensor.job->window_bytes_min(),
                                                        environment_.limits.window_bytes));
  tensor.accept_pending = true;
  tensor.one_message = frame.last && tensor.job->output_bytes() <= environment_.limits.response_data_bytes;
}

void StreamSession::TakeFrame() {
  while (frame_.has_value()) {
    if (discarding_) {
      EndFrame();
      continue;
    }
    Tensor& tensor = tensors_.back();
    const bool repeated_header = frame_->frame().header.has_value() && tensor.received_header;
    absl::Status status =
        repeated_header
            ? InvalidArgument(reason::kMalformedFrame, "a second header inside tensor " + std::to_string(tensor.seq) +
                                                           ". Send one, in the first frame.")
            : tensor.job->Take(*frame_);
    if (!status.ok()) {
      Fail(tensor, std::move(status));
      continue;
    }
    if (frame_->piece() != nullptr) return;  // needs a region first
    EndFrame();
    tensor.received_header = true;
  }
}

void StreamSession::EndFrame() {
  if (frame_->frame().last) {
    in_tensor_ = false;
    discarding_ = false;
  }
  frame_.reset();
}

void StreamSession::Fail(Tensor& tensor, absl::Status status) {
  if (totals_.first_error.ok()) totals_.first_error = status;
  ++totals_.tensors_failed;
  if (tensor.job != nullptr) {
    tensor.job->Cancel();
    AddTimes(tensor.job->Summary());
    tensor.consumed_bytes = tensor.job->consumed_bytes();
  }
  tensor.job = nullptr;
  tensor.load.reset();
  tensor.accept_pending = false;
  tensor.error = std::move(status);
  again_ = true;  // its frames can be discarded now, and its error sent
  if (in_tensor_ && tensor.seq == last_seq_) discarding_ = true;
}

// ---- Work ----

void StreamSession::Pump() {
  if (io_ == nullptr) return;
  if (!final_status_.has_value()) {
    do {
      again_ = false;
      TakeFrame();
      GiveRegions();
      CollectResults();
      if (!again_) SubmitRuns();
    } while (again_);
  }
  WriteMore();
  ReadMore();
  FinishIfOver();
}

void StreamSession::GiveUpUploads() {
  const bool superseded = std::any_of(tensors_.begin(), tensors_.end(), [](const Tensor& tensor) {
    return tensor.job != nullptr && tensor.job->superseded();
  });
  if (!superseded || final_status_.has_value()) return;
  EndStream(MakeError(absl::StatusCode::kAborted, reason::kUploadResumed,
                      "another stream goes on with this stream's upload. Use an id of its own for each tensor."));
}

// A stream that has a slot goes on by itself, or its client holds it up. One without is held up by others.
void StreamSession::GiveUpOnSlots() {
  const SlotArena::Holdings held = environment_.arena.HoldingsOf(*account_);
  waiting_since_ = environment_.clock.Now();
  if (held.of_account > 0) return;
  const std::string waited = absl::FormatDuration(environment_.limits.slot_wait_max);
  const bool own_fault = held.of_principal >= environment_.arena.slots_per_principal_max();
  const absl::Status status =
      own_fault
          ? MakeError(absl::StatusCode::kResourceExhausted, reason::kPrincipalSlots,
                      "other streams of " + environment_.principal.name + " held all of its " +
                          std::to_string(held.of_principal) + " buffers for " + waited +
                          ". Read results as they come, or open fewer streams.",
                      {{"slots_per_principal_max", std::to_string(held.of_principal)}})
          : MakeError(absl::StatusCode::kUnavailable, reason::kServerSlots,
                      "no buffer of this server came free for " + waited + ". Try again later, or use another replica.",
                      {{"slots_max", std::to_string(environment_.arena.slots_max())}});
  for (Tensor& tensor : tensors_) {
    if (tensor.job != nullptr && tensor.job->RegionBytesNeeded() > 0) Fail(tensor, status);
  }
  Pump();
}

// A region may let the frame go on, which may need the next region.
void StreamSession::GiveRegions() {
  for (Tensor& tensor : tensors_) {
    while (tensor.job != nullptr && tensor.job->RegionBytesNeeded() > 0) {
      auto region = NewRegion(tensor.job->RegionBytesNeeded());
      if (!region.has_value()) return;
      tensor.job->GiveRegion(*std::move(region));
      TakeFrame();
    }
  }
  slot_ = nullptr;  // nobody needs it any more
}

std::optional<Region> StreamSession::NewRegion(uint64_t bytes) {
  if (auto shared = regions_.TryShare(bytes)) return shared;
  if (slot_ == nullptr && !waiting_for_slot_) {
    slot_ = environment_.arena.AcquireOr(account_, [weak = weak_from_this()](SlotPtr slot) {
      if (auto session = weak.lock()) session->OnSlot(std::move(slot));
    });
    waiting_for_slot_ = slot_ == nullptr;
    waiting_since_ = environment_.clock.Now();
  }
  if (slot_ == nullptr) return std::nullopt;
  return regions_.Take(std::exchange(slot_, nullptr), bytes);
}

void StreamSession::OnSlot(SlotPtr slot) {
  absl::MutexLock lock(&mutex_);
  waiting_for_slot_ = false;
  if (io_ == nullptr || final_status_.has_value()) return;
  slot_ = std::move(slot);
  Pump();
}

void StreamSession::SubmitRuns() {
  for (Tensor& tensor : tensors_) {
    if (tensor.job == nullptr) continue;
    while (std::shared_ptr<Run> run = tensor.job->NextRun()) {
      run->ready_at = environment_.clock.Now();
      Submit(*tensor.job, tensor.seq, run);
    }
  }
}

void StreamSession::Submit(StreamJob& job, uint64_t seq, const std::shared_ptr<Run>& run) {
  ComputeTask task{.run = run,
                   .turn = {environment_.principal, job.priority(), std::max<uint64_t>(run->value_bytes(), 1)},
                   .policy = job.device_policy()};
  // What a device computes costs no thread any time.
  task.done = [session = shared_from_this(), seq, run] {
    session->environment_.load_budget.Observe(run->input_bytes, absl::ZeroDuration());
    session->OnComputed(seq, *run);
  };
  task.compute_on_cpu = [session = shared_from_this(), turn = task.turn, seq, run] {
    session->environment_.submit(turn, [session, seq, run] {
      Compute(*run, session->environment_.backend, session->environment_.clock);
      session->environment_.load_budget.Observe(run->input_bytes + run->cost_bytes,
                                                run->receive_time + run->compute_time);
      session->OnComputed(seq, *run);
    });
  };
  const bool only_on_cpu = run->compute != nullptr || environment_.devices == nullptr;
  if (!only_on_cpu && environment_.devices->TryCompute(task)) return;
  if (!ComputeHere(job, *run)) task.compute_on_cpu();
}

// To hand a small one to another thread takes longer than to compute it.
bool StreamSession::ComputeHere(StreamJob& job, Run& run) {
  if (run.value_bytes() > kComputedHereBytesMax || environment_.run_here == nullptr) return false;
  if (!environment_.run_here([&] { Compute(run, environment_.backend, environment_.clock); })) return false;
  environment_.load_budget.Observe(run.input_bytes + run.cost_bytes, run.receive_time + run.compute_time);
  job.GiveBack(run);
  again_ = true;
  return true;
}

void StreamSession::OnComputed(uint64_t seq, Run& run) {
  absl::MutexLock lock(&mutex_);
  const auto tensor = std::find_if(tensors_.begin(), tensors_.end(), [&](const Tensor& t) { return t.seq == seq; });
  if (tensor == tensors_.end() || tensor->job == nullptr) return;
  reading_since_ = data_since_ = environment_.clock.Now();  // the time until now was the server's
  tensor->job->GiveBack(run);
  Pump();
}

// ---- Output ----

void StreamSession::CollectResults() {
  while (!tensors_.empty() && CollectFrom(tensors_.front())) tensors_.pop_front();
}

// True if the tensor is through.
bool StreamSession::CollectFrom(Tensor& tensor) {
  if (tensor.accept_pending) {
    ResponseFrame& frame = FrameWithRoom(tensor, 0);
    frame.accept = tensor.job->Accept();
    frame.window_bytes = tensor.window->bytes();
    tensor.accept_pending = false;
  }
  if (tensor.job != nullptr) {
    const uint64_t consumed_before_bytes = tensor.job->consumed_bytes();
    auto pieces = tensor.job->TakeResults();
    tensor.load->Consume(tensor.job->consumed_bytes() - consumed_before_bytes);
    if (!pieces.ok()) {
      Fail(tensor, pieces.status());
    } else {
      // A pass that only spools has no results, but the client needs its credit back.
      if (pieces->empty() && tensor.job->consumed_bytes() > consumed_before_bytes) {
        FrameWithRoom(tensor, 0).consumed_bytes = tensor.job->consumed_bytes();
      }
      for (OutputPiece& piece : *pieces) {
        ResponseFrame& frame = FrameWithRoom(tensor, piece.bytes.size());
        frame.data_bytes += piece.bytes.size();
        frame.consumed_bytes = tensor.job->consumed_bytes();
        frame.pieces.push_back(std::move(piece));
      }
    }
  }
  if (tensor.job == nullptr) {
    outbox_.push_back(
        {.tensor_seq = tensor.seq, .consumed_bytes = tensor.consumed_bytes, .error = std::move(tensor.error)});
    return true;
  }
  if (!tensor.job->done()) {
    if (tensor.job->RegionBytesNeeded() > 0 && !waiting_for_slot_) again_ = true;  // its second pass has begun
    return false;
  }
  ResponseFrame& frame = FrameWithRoom(tensor, 0);
  frame.consumed_bytes = tensor.job->consumed_bytes();
  frame.summary = tensor.job->Summary();
  frame.summary->total_time = environment_.clock.Now() - tensor.started_at;
  if (frame.summary->device.empty()) frame.summary->device = std::string(environment_.backend.name());
  ++totals_.tensors_done;
  AddTimes(*frame.summary);
  if (std::string upload_id = tensor.job->upload_id(); !upload_id.empty()) {
    ForgetFinishedUpload();
    finished_upload_ = std::move(upload_id);
    tensor.job->Suspend();
  }
  return true;
}

void StreamSession::AddTimes(const SummaryInfo& summary) {
  totals_.receive_time += summary.receive_time;
  totals_.queue_time += summary.queue_time;
  totals_.compute_time += summary.compute_time;
}

ResponseFrame& StreamSession::FrameWithRoom(const Tensor& tensor, uint64_t bytes) {
  const bool fits = !outbox_.empty() && outbox_.back().tensor_seq == tensor.seq &&
                    outbox_.back().data_bytes + bytes <= environment_.limits.response_data_bytes &&
                    outbox_.back().pieces.size() < kPiecesPerFrameMax;
  if (!fits) outbox_.push_back({.tensor_seq = tensor.seq});
  return outbox_.back();
}

void StreamSession::WriteMore() {
  if (writing_ || outbox_.empty()) return;
  // A tensor that waits for memory must not hold back the results that occupy it.
  const bool more_to_come = outbox_.size() == 1 && !tensors_.empty() && tensors_.front().one_message &&
                            tensors_.front().seq == outbox_.front().tensor_seq &&
                            (outbox_.front().pieces.empty() || tensors_.front().job->RegionBytesNeeded() == 0);
  if (more_to_come) return;
  writing_ = true;
  writing_since_ = environment_.clock.Now();
  totals_.bytes_sent += outbox_.front().data_bytes;
  ResponseFrame frame = std::move(outbox_.front());
  outbox_.pop_front();
  io_->Write(std::move(frame));
}

void StreamSession::ReadMore() {
  const bool room = tensors_.size() < kTensorsMax && outbox_.size() < kOutboxFramesMax;
  const bool last_tensor_has_its_memory =
      in_tensor_ || tensors_.empty() || tensors_.back().job == nullptr || tensors_.back().job->needs_no_more_memory();
  const bool takes_input =
      tensors_.empty() || tensors_.back().job == nullptr || tensors_.back().job->has_room_for_input();
  if (reading_ || half_closed_ || frame_.has_value() || final_status_.has_value() || !room ||
      !last_tensor_has_its_memory || !takes_input) {
    return;
  }
  reading_ = true;
  reading_since_ = environment_.clock.Now();
  io_->Read();
}

void StreamSession::FinishIfOver() {
  if (writing_ || !outbox_.empty()) return;
  if (!final_status_.has_value()) {
    if (in_tensor_ || frame_.has_value() || !tensors_.empty()) return;
    if (half_closed_) {
      final_status_ = absl::OkStatus();
    } else if (draining_) {
      final_status_ = Draining();
    } else {
      return;
    }
  }
  std::exchange(io_, nullptr)->Finish(*final_status_);
}

// Gives up the tensors that are under way; the status follows what others have ready to be sent.
void StreamSession::EndStream(absl::Status status) {
  if (totals_.first_error.ok()) totals_.first_error = status;
  DropTensors();
  if (!final_status_.has_value()) final_status_ = std::move(status);
  WriteMore();
  FinishIfOver();
}

void StreamSession::ForgetFinishedUpload() {
  if (!finished_upload_.empty() && environment_.uploads != nullptr) {
    environment_.uploads->Forget(environment_.principal, finished_upload_);
  }
  finished_upload_.clear();
}

void StreamSession::DropTensors() {
  for (Tensor& tensor : tensors_) {
    if (tensor.job == nullptr) continue;  // counted when it failed
    tensor.job->Suspend();
    AddTimes(tensor.job->Summary());
    ++totals_.tensors_failed;
  }
  tensors_.clear();
  frame_.reset();
  slot_ = nullptr;
}

void StreamSession::DropEverything() {
  DropTensors();
  outbox_.clear();
}

}  // namespace quantd::server
