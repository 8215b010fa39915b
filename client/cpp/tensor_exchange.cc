#include "client/cpp/tensor_exchange.h"

#include <utility>

#include "absl/time/clock.h"
#include "client/cpp/grpc_status.h"
#include "client/cpp/received_response.h"
#include "kernels/base/status_macros.h"

namespace quantd {
namespace {

// A CancelToken is a flag: it has to be looked at.
constexpr absl::Duration kCancelPoll = absl::Milliseconds(10);
// How long a stream whose tensor is over may take to end by itself.
constexpr absl::Duration kPartingMax = absl::Seconds(1);

absl::Status Cancelled() { return absl::CancelledError("The caller cancelled the call."); }

class Exchange {
 public:
  Exchange(const TensorTask& task, StreamTransport& stream, SegmentSink& sink, const CallOptions& options,
           AcceptCache& accepts)
      : call_(task),
        ends_after_summary_(task.header.has_upload()),
        stream_(stream),
        sink_(sink),
        options_(options),
        accepts_(accepts) {}

  ExchangeResult Run() {
    absl::Status status = Converse();
    const bool over = call_.summary().has_value() || call_.server_error().has_value();
    if (over) {
      EndOurSide();
    } else if (!status.ok()) {
      stream_.Cancel();
    }
    const StreamEnd end = stream_.Finish(over ? kPartingMax : absl::InfiniteDuration());
    ExchangeResult result;
    result.resume_element = call_.resume_element();
    result.upload = call_.upload();
    result.begin_bytes = call_.begin_bytes();
    result.server_instance = call_.server_instance();
    result.attempt.answered = call_.accepted();
    if (call_.summary().has_value()) {
      // Complete and checked: how the stream ended afterwards does not matter.
      result.summary = *call_.summary();
    } else if (call_.server_error().has_value()) {
      FillRefusal(*call_.server_error(), end, result.attempt);
    } else if (!status.ok()) {
      result.attempt.status = std::move(status);
    } else if (end.status.ok()) {
      result.attempt.status =
          absl::InternalError("The server broke the protocol: it ended the stream before the tensor's summary.");
    } else {
      FillRefusal(FromGrpcStatus(end.status), end, result.attempt);
    }
    return result;
  }

 private:
  bool cancelled() const { return options_.cancel != nullptr && options_.cancel->cancelled(); }

  // Until the tensor is complete, the stream has ended (OK), or something is wrong.
  absl::Status Converse() {
    while (!call_.summary().has_value()) {
      if (cancelled()) return Cancelled();
      SendWhatMayGo();
      if (std::optional<grpc::ByteBuffer> message = stream_.Receive(); message.has_value()) {
        QUANTD_RETURN_IF_ERROR(Take(*message));
      } else if (stream_.ended()) {
        return absl::OkStatus();
      } else {
        stream_.Wait(call_.CanSend(), options_.cancel != nullptr ? kCancelPoll : absl::InfiniteDuration());
      }
    }
    return absl::OkStatus();
  }

  void SendWhatMayGo() {
    while (stream_.CanSend()) {
      std::optional<OutgoingFrame> frame = call_.NextFrame();
      if (!frame.has_value()) return;
      stream_.Send(*std::move(frame), call_.last_sent() && !ends_after_summary_);
    }
  }

  absl::Status Take(const grpc::ByteBuffer& message) {
    ReceivedResponse response(accepts_);
    QUANTD_RETURN_IF_ERROR(response.Parse(message));
    QUANTD_RETURN_IF_ERROR(call_.Receive(response.fields(), response.accept(), response.data(), sink_));
    if (options_.progress) options_.progress(call_.consumed_bytes(), call_.total_bytes());
    return absl::OkStatus();
  }

  // In the agreed way, so that the server need not call the stream broken; not for long, though.
  void EndOurSide() {
    const absl::Time give_up = absl::Now() + kPartingMax;
    while (call_.CanSend() && !stream_.ended() && absl::Now() < give_up && !cancelled()) {
      SendWhatMayGo();
      if (call_.CanSend() && !stream_.Receive().has_value()) stream_.Wait(true, kCancelPoll);
    }
    if (!call_.last_sent()) return stream_.Cancel();
    if (ends_after_summary_) stream_.HalfClose();
  }

  void FillRefusal(const RemoteError& error, const StreamEnd& end, AttemptResult& attempt) const {
    attempt.status = error.status;
    attempt.may_repeat = true;
    attempt.pushback = error.retry_delay;
    if (end.pushback_ms.has_value()) attempt.pushback = ParsePushback(*end.pushback_ms);
  }

  TensorCall call_;
  const bool ends_after_summary_;  // the half-close tells the server that it need not keep the upload
  StreamTransport& stream_;
  SegmentSink& sink_;
  const CallOptions& options_;
  AcceptCache& accepts_;
};

}  // namespace

ExchangeResult ExchangeTensor(const TensorTask& task, StreamTransport& stream, SegmentSink& sink,
                              const CallOptions& options, AcceptCache& accepts) {
  return Exchange(task, stream, sink, options, accepts).Run();
}

}  // namespace quantd
