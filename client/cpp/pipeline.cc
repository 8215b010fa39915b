#include "client/cpp/pipeline.h"

#include <deque>
#include <utility>

#include "absl/time/clock.h"
#include "client/cpp/grpc_status.h"
#include "client/cpp/received_response.h"
#include "kernels/base/status_macros.h"

namespace quantd {
namespace {

// Enough to cover a round trip with small tensors; the stream's own queue bounds what is in memory twice.
constexpr size_t kTensorsInFlightMax = 64;
// A CancelToken is a flag: it has to be looked at.
constexpr absl::Duration kCancelPoll = absl::Milliseconds(10);
// How long a stream whose tensors are done may take to end by itself.
constexpr absl::Duration kPartingMax = absl::Seconds(1);

// A tensor between its claim and its result.
struct InFlight {
  InFlight(size_t at, TensorTask what) : index(at), task(std::move(what)) {}

  const size_t index;
  const TensorTask task;
  MemorySink sink;
  std::optional<TensorCall> call;  // of the present stream
};

// What has been claimed and has no result yet, in the order of the streams.
class Backlog {
 public:
  explicit Backlog(PipelineWork& work) : work_(work) {}

  // True if there are more than `count`, claiming one if need be.
  bool HasMoreThan(size_t count) {
    while (tensors_.size() <= count && !all_claimed_) {
      const std::optional<size_t> index = work_.Claim();
      all_claimed_ = !index.has_value();
      if (all_claimed_) break;
      absl::StatusOr<TensorTask> task = work_.Task(*index);
      if (task.ok()) {
        tensors_.push_back(std::make_unique<InFlight>(*index, *std::move(task)));
      } else {
        work_.Finish(*index, task.status());
      }
    }
    return tensors_.size() > count;
  }

  bool empty() const { return tensors_.empty(); }
  InFlight& At(size_t place) { return *tensors_[place]; }

  void FinishFirst(absl::StatusOr<MemoryResult> result) {
    work_.Finish(tensors_.front()->index, std::move(result));
    tensors_.pop_front();
  }
  void FinishAll(const absl::Status& status) {
    while (HasMoreThan(0)) FinishFirst(status);
  }
  // A new stream knows nothing of the last one's calls.
  void ForgetCalls() {
    for (const auto& tensor : tensors_) tensor->call.reset();
  }

 private:
  PipelineWork& work_;
  std::deque<std::unique_ptr<InFlight>> tensors_;
  bool all_claimed_ = false;
};

// One stream of the pipeline. Tensors that it does not finish stay in `tensors`.
class PipelineStream {
 public:
  PipelineStream(Backlog& tensors, const CallOptions& options, StreamTransport& stream, AcceptCache& accepts)
      : tensors_(tensors), options_(options), stream_(stream), accepts_(accepts) {}

  AttemptResult Run() {
    absl::Status status = Converse();
    // The server ends a stream whose client's side has ended.
    if (!status.ok() || refusal_.has_value()) stream_.Cancel();
    const StreamEnd end = stream_.Finish(kPartingMax);
    AttemptResult result{.advanced = finished_ > 0, .answered = finished_ > 0};
    if (tensors_.empty()) return result;  // how the stream ended afterwards does not matter
    if (!status.ok()) {
      result.status = std::move(status);
      return result;
    }
    if (!refusal_.has_value() && end.status.ok()) {
      result.status = absl::InternalError("The server broke the protocol: it ended the stream before all summaries.");
      return result;
    }
    const RemoteError error = refusal_.value_or(FromGrpcStatus(end.status));
    result.status = error.status;
    result.may_repeat = true;
    result.pushback = error.retry_delay;
    if (end.pushback_ms.has_value()) result.pushback = ParsePushback(*end.pushback_ms);
    return result;
  }

 private:
  bool cancelled() const { return options_.cancel != nullptr && options_.cancel->cancelled(); }

  // Until every tensor has its result, the server ended the stream or refused a tensor that may be sent again (OK), or
  // something is wrong.
  absl::Status Converse() {
    for (;;) {
      if (cancelled()) return absl::CancelledError("The caller cancelled the call.");
      SendWhatMayGo();
      if (tensors_.empty() || refusal_.has_value()) return absl::OkStatus();
      if (std::optional<grpc::ByteBuffer> message = stream_.Receive(); message.has_value()) {
        QUANTD_RETURN_IF_ERROR(Take(*message));
      } else if (stream_.ended()) {
        return absl::OkStatus();
      } else {
        stream_.Wait(CanSend(), options_.cancel != nullptr ? kCancelPoll : absl::InfiniteDuration());
      }
    }
  }

  // The last frame of the last tensor ends our side of the stream, so the next tensor is claimed before it is sent.
  void SendWhatMayGo() {
    while (stream_.CanSend() && CanSend()) SendNext();
  }
  bool CanSend() { return sending_ < kTensorsInFlightMax && tensors_.HasMoreThan(sending_) && Sending().CanSend(); }
  void SendNext() {
    TensorCall& call = Sending();
    std::optional<OutgoingFrame> frame = call.NextFrame();
    if (call.last_sent()) ++sending_;
    stream_.Send(*std::move(frame), call.last_sent() && !tensors_.HasMoreThan(sending_));
  }
  TensorCall& Sending() {
    InFlight& tensor = tensors_.At(sending_);
    if (!tensor.call.has_value()) tensor.call.emplace(tensor.task, ++last_seq_);
    return *tensor.call;
  }

  absl::Status Take(const grpc::ByteBuffer& message) {
    ReceivedResponse response(accepts_);
    QUANTD_RETURN_IF_ERROR(response.Parse(message));
    InFlight& tensor = tensors_.At(0);
    if (!tensor.call.has_value()) {
      return absl::InternalError("The server broke the protocol: a response for a tensor that was not sent.");
    }
    TensorCall& call = *tensor.call;
    absl::Status status = call.Receive(response.fields(), response.accept(), response.data(), tensor.sink);
    if (const auto& error = call.server_error(); error.has_value()) {
      if (error->status.code() == absl::StatusCode::kUnavailable) {
        refusal_ = *error;
        return absl::OkStatus();
      }
      // The server discards the rest of a failed tensor up to its last frame.
      while (!call.last_sent() && !stream_.ended() && !cancelled()) {
        if (stream_.CanSend()) {
          SendNext();
        } else {
          stream_.Wait(true, kCancelPoll);
        }
      }
      FinishFirst(std::move(status));
      return absl::OkStatus();
    }
    QUANTD_RETURN_IF_ERROR(status);
    if (call.summary().has_value()) {
      FinishFirst(MemoryResult{tensor.sink.TakeScheme(), tensor.sink.TakeSegments(), *call.summary()});
    }
    return absl::OkStatus();
  }

  void FinishFirst(absl::StatusOr<MemoryResult> result) {
    tensors_.FinishFirst(std::move(result));
    if (sending_ > 0) --sending_;
    ++finished_;
  }

  Backlog& tensors_;
  const CallOptions& options_;
  StreamTransport& stream_;
  AcceptCache& accepts_;
  size_t sending_ = 0;  // so many of tensors_ are sent; the next one is being sent
  uint64_t last_seq_ = 0;
  uint64_t finished_ = 0;
  std::optional<RemoteError> refusal_;
};

}  // namespace

void RunPipeline(PipelineWork& work, const CallOptions& options, const RetryPolicy& policy,
                 const RetryEnvironment& environment, const std::function<std::unique_ptr<StreamTransport>()>& open,
                 AcceptCache& accepts) {
  Backlog tensors(work);
  const absl::Status status = RunWithRetries(policy, environment, [&]() -> AttemptResult {
    if (!tensors.HasMoreThan(0)) return {};
    tensors.ForgetCalls();
    const auto stream = open();
    return PipelineStream(tensors, options, *stream, accepts).Run();
  });
  tensors.FinishAll(status);
}

}  // namespace quantd
