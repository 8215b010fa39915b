#include "server/rpc/bulk_reactor.h"

#include <utility>

#include "kernels/base/error.h"
#include "server/rpc/grpc_status.h"

namespace quantd::server {

BulkReactor::BulkReactor(Context context, const SessionEnvironment& environment, Principal principal,
                         Admission::Ticket ticket)
    : context_(context),
      principal_(std::move(principal)),
      ticket_(std::move(ticket)),
      peer_(context.rpc.peer()),
      started_at_(context.clock.Now()),
      session_(std::make_shared<StreamSession>(environment, *this)) {
  context_.registry.Add(session_);
  session_->Start();
}

void BulkReactor::Write(ResponseFrame frame) {
  response_ = ToByteBuffer(frame, context_.constants);
  StartWrite(&response_);
}

void BulkReactor::Finish(absl::Status status) {
  status_ = status;
  if (absl::IsUnavailable(status)) {
    context_.rpc.AddTrailingMetadata(kRetryPushbackKey, std::to_string(RetryDelayMsOf(status)));
  }
  ServerBidiReactor::Finish(ToGrpcStatus(status));
}

void BulkReactor::OnReadDone(bool ok) {
  if (ok) {
    auto frame = ToRequestFrame(request_);
    request_.Clear();
    session_->OnFrame(std::move(frame));
  } else if (context_.rpc.IsCancelled()) {
    session_->OnCancelled();
  } else {
    session_->OnHalfClose();
  }
}

void BulkReactor::OnWriteDone(bool ok) {
  response_.Clear();
  if (ok) {
    session_->OnWritten();
  } else {
    session_->OnCancelled();
  }
}

void BulkReactor::OnDone() {
  session_->Detach();
  context_.registry.Remove(session_);
  ticket_.reset();  // before the log says that the stream is over
  const StreamTotals totals = session_->totals();
  context_.log.Record({.method = context_.method,
                       .peer = peer_,
                       .principal = principal_.name,
                       .status = status_,
                       .reason = DetailsOf(totals.first_error.ok() ? status_ : totals.first_error).reason,
                       .tensors_done = totals.tensors_done,
                       .tensors_failed = totals.tensors_failed,
                       .bytes_received = totals.bytes_received,
                       .bytes_sent = totals.bytes_sent,
                       .receive_time = totals.receive_time,
                       .queue_time = totals.queue_time,
                       .compute_time = totals.compute_time,
                       .total_time = context_.clock.Now() - started_at_});
  delete this;
}

RefusedReactor::RefusedReactor(const absl::Status& status) { Finish(ToGrpcStatus(status)); }

}  // namespace quantd::server
