#include "server/rpc/calibration_streams.h"

#include <optional>
#include <span>
#include <utility>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/base/status_macros.h"
#include "server/calibration/calibration_errors.h"
#include "server/rpc/grpc_status.h"

namespace quantd::server {
namespace {

constexpr size_t kMessageDataBytes = 1 << 20;

// One line when the stream is over.
class StreamRecord {
 public:
  StreamRecord(const char* method, const CalibrationStream& stream)
      : method_(method), peer_(stream.rpc.peer()), started_at_(stream.clock.Now()) {}

  absl::Status status;
  uint64_t bytes_received = 0;
  uint64_t bytes_sent = 0;

  void Write(CalibrationStream& stream) {
    if (stream.ticket.ok()) Admission::Ticket ended(*std::move(stream.ticket));  // before the log says so
    stream.log.Record({.method = method_,
                       .peer = peer_,
                       .principal = stream.principal.name,
                       .status = status,
                       .reason = DetailsOf(status).reason,
                       .bytes_received = bytes_received,
                       .bytes_sent = bytes_sent,
                       .total_time = stream.clock.Now() - started_at_});
  }

 private:
  const char* const method_;
  const std::string peer_;
  const absl::Time started_at_;
};

void AddPushback(const absl::Status& status, const absl::Status& admission, grpc::CallbackServerContext& rpc) {
  if (admission.ok()) return;
  rpc.AddTrailingMetadata(kRetryPushbackKey,
                          absl::IsUnavailable(status) ? std::to_string(RetryDelayMsOf(status)) : "-1");
}

class ExportReactor final : public grpc::ServerWriteReactor<v1::ExportCalibrationResponse> {
 public:
  ExportReactor(CalibrationStream stream, const std::string& session_id)
      : stream_(std::move(stream)),
        record_("ExportCalibration", stream_),
        watched_(std::in_place, stream_.stall_guard, stream_.rpc) {
    if (absl::Status status = Open(session_id); status.ok()) {
      WriteNext();
    } else {
      End(std::move(status));
    }
  }

 private:
  absl::Status Open(const std::string& session_id) {
    QUANTD_RETURN_IF_ERROR(stream_.ticket.status());
    QUANTD_ASSIGN_OR_RETURN(auto session, stream_.store.Find(stream_.principal, session_id));
    QUANTD_ASSIGN_OR_RETURN(source_, CalibrationExport::Start(std::move(session), stream_.clock.Now()));
    return absl::OkStatus();
  }

  void WriteNext() {
    absl::StatusOr<std::string> part = source_->Next(kMessageDataBytes);
    if (!part.ok() || part->empty()) return End(part.status());
    record_.bytes_sent += part->size();
    message_.set_data(*std::move(part));
    StartWrite(&message_);
  }

  void OnWriteDone(bool ok) override {
    if (!ok) return End(absl::CancelledError("the client left, or did not read for too long"));
    watched_->Progress();
    WriteNext();
  }

  void End(absl::Status status) {
    AddPushback(status, stream_.ticket.status(), stream_.rpc);
    record_.status = status;
    watched_->Progress();  // now the peer has to take that; and a mutex shows ThreadSanitizer what comes before OnDone
    Finish(ToGrpcStatus(status));
  }

  void OnDone() override {
    watched_.reset();
    source_ = nullptr;
    record_.Write(stream_);
    delete this;
  }

  CalibrationStream stream_;
  StreamRecord record_;
  std::optional<StallGuard::Watched> watched_;
  std::unique_ptr<CalibrationExport> source_;
  v1::ExportCalibrationResponse message_;
};

class ImportReactor final : public grpc::ServerReadReactor<v1::ImportCalibrationRequest> {
 public:
  ImportReactor(CalibrationStream stream, uint32_t name_bytes_max, uint64_t memory_bytes_max,
                v1::ImportCalibrationResponse& response)
      : stream_(std::move(stream)),
        record_("ImportCalibration", stream_),
        watched_(std::in_place, stream_.stall_guard, stream_.rpc),
        name_bytes_max_(name_bytes_max),
        memory_bytes_max_(memory_bytes_max),
        response_(response) {
    if (stream_.ticket.ok()) {
      StartRead(&message_);
    } else {
      End(stream_.ticket.status());
    }
  }

 private:
  void OnReadDone(bool ok) override {
    absl::Status status = ok ? Take() : Complete();
    if (!ok || !status.ok()) return End(std::move(status));
    watched_->Progress();
    StartRead(&message_);
  }

  absl::Status Take() {
    if (import_ == nullptr) {
      if (!message_.has_target()) {
        return InvalidCalibration("the first message has no target. Send session_id and import_id in it.");
      }
      QUANTD_ASSIGN_OR_RETURN(import_, CalibrationImport::Start(FromProto(message_.target()), stream_.principal,
                                                                stream_.store, name_bytes_max_, memory_bytes_max_));
    } else if (message_.has_target()) {
      return InvalidCalibration("a second target. Send one, in the first message.");
    }
    record_.bytes_received += message_.data().size();
    return import_->Feed(std::as_bytes(std::span(message_.data())));
  }

  // No further message will come: it was half-closed, or the client is gone.
  absl::Status Complete() {
    if (stream_.rpc.IsCancelled()) return absl::CancelledError("the client cancelled, left, or its deadline passed");
    if (import_ == nullptr) return InvalidCalibration("the stream had no message. Send a target and a .qcal file.");
    QUANTD_ASSIGN_OR_RETURN(const CalibrationImport::Result result, import_->Finish());
    *response_.mutable_calibration() = ToProto(result.info, stream_.identity);
    response_.set_merged_tensors(result.merged_tensors);
    response_.set_repeated_tensors(result.repeated_tensors);
    return absl::OkStatus();
  }

  void End(absl::Status status) {
    import_ = nullptr;  // what has not been merged is gone before the client hears of it
    AddPushback(status, stream_.ticket.status(), stream_.rpc);
    record_.status = status;
    watched_->Progress();  // now the peer has to take that; and a mutex shows ThreadSanitizer what comes before OnDone
    Finish(ToGrpcStatus(status));
  }

  void OnDone() override {
    watched_.reset();
    record_.Write(stream_);
    delete this;
  }

  CalibrationStream stream_;
  StreamRecord record_;
  std::optional<StallGuard::Watched> watched_;
  const uint32_t name_bytes_max_;
  const uint64_t memory_bytes_max_;
  v1::ImportCalibrationResponse& response_;
  v1::ImportCalibrationRequest message_;
  std::unique_ptr<CalibrationImport> import_;
};

}  // namespace

grpc::ServerWriteReactor<v1::ExportCalibrationResponse>* MakeExportReactor(CalibrationStream stream,
                                                                           const std::string& session_id) {
  return new ExportReactor(std::move(stream), session_id);
}

grpc::ServerReadReactor<v1::ImportCalibrationRequest>* MakeImportReactor(CalibrationStream stream,
                                                                         uint32_t name_bytes_max,
                                                                         uint64_t memory_bytes_max,
                                                                         v1::ImportCalibrationResponse& response) {
  return new ImportReactor(std::move(stream), name_bytes_max, memory_bytes_max, response);
}

}  // namespace quantd::server
