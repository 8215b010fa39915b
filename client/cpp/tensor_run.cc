#include "client/cpp/tensor_run.h"

#include <algorithm>
#include <utility>

#include "client/cpp/local_range.h"
#include "client/cpp/resuming_sink.h"
#include "client/cpp/tensor_exchange.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/base/status_macros.h"

namespace quantd {
namespace {

uint64_t ElementCount(const v1::TensorHeader& header) {
  uint64_t count = 1;
  for (const uint64_t extent : header.shape()) count *= extent;
  return count;
}

class TensorRun {
 public:
  TensorRun(const TensorTask& task, SegmentSink& sink, const CallOptions& options, AcceptCache& accepts)
      : task_(task),
        sink_(sink),
        options_(options),
        accepts_(accepts),
        begin_(task.header.has_range() ? task.header.range().begin() : 0),
        end_(task.header.has_range() ? task.header.range().end() : ElementCount(task.header)),
        resume_(begin_) {}

  AttemptResult Attempt(StreamTransport& stream) {
    const TensorTask rest = Rest();
    const uint64_t delivered_before = sink_.delivered_bytes();
    ExchangeResult result = ExchangeTensor(rest, stream, sink_, OptionsOfTheWhole(), accepts_);
    result.attempt.advanced = sink_.delivered_bytes() > delivered_before || TakeUpload(result);
    if (!result.server_instance.empty()) server_instance_ = result.server_instance;
    if (upload_.has_value() && IsUploadLost(result.attempt.status)) {
      // The server that knew the statistics is gone, or has forgotten them.
      upload_.reset();
      upload_begin_bytes_ = 0;
      result.attempt.status =
          absl::UnavailableError("The connection broke, and what the server had found did not survive: " +
                                 std::string(result.attempt.status.message()));
      return std::move(result.attempt);
    }
    if (IsStatisticNeeded(result.attempt.status) && resume_ > begin_) {
      // Only the whole tensor has it: once more from the start, and no parts from now on.
      can_resume_ = false;
      resume_ = begin_;
      result.attempt = {absl::UnavailableError("The connection broke in the middle of the tensor."), true, {}, true};
      return std::move(result.attempt);
    }
    if (result.attempt.status.ok()) {
      summary_ = std::move(result.summary);
      summary_.server_instance = server_instance_;
      AddWhatOtherStreamsSaw();
    } else if (!upload_.has_value() && can_resume_ && result.resume_element.has_value()) {
      resume_ = std::clamp(*result.resume_element, resume_, std::max(end_, uint64_t{1}) - 1);
    }
    return std::move(result.attempt);
  }

  Summary TakeSummary() { return std::move(summary_); }

 private:
  static bool IsStatisticNeeded(const absl::Status& status) {
    return DetailsOf(status).reason == reason::kStatisticNeeded;
  }

  static bool IsUploadLost(const absl::Status& status) {
    const std::string reason = DetailsOf(status).reason;
    return reason == reason::kUploadElsewhere || reason == reason::kUploadUnknown || reason == reason::kUploadMismatch;
  }

  // True if the server has more of the upload than it had for the last stream.
  bool TakeUpload(ExchangeResult& result) {
    if (!result.upload.has_value()) return false;
    const bool went_on = upload_.has_value() && result.begin_bytes > upload_begin_bytes_;
    upload_ = std::move(result.upload);
    upload_begin_bytes_ = result.begin_bytes;
    return went_on;
  }

  bool is_calibrate() const { return task_.header.has_contribution(); }
  bool is_quantize() const { return !task_.values_bytes.has_value(); }

  TensorTask Rest() const {
    TensorTask rest = task_;
    if (is_calibrate() && rest.server_instance.empty()) rest.server_instance = server_instance_;
    if (upload_.has_value()) {
      v1::Upload& upload = *rest.header.mutable_upload() = *upload_;
      for (v1::ReceivedSegment& segment : sink_.received()) *upload.add_received() = std::move(segment);
      rest.window_before_accept_bytes = 0;
      return rest;
    }
    if (resume_ == begin_) return rest;
    rest.header.clear_upload();  // a part needs none
    rest.header.mutable_range()->set_begin(resume_);
    rest.header.mutable_range()->set_end(end_);
    if (!is_quantize()) rest.window_before_accept_bytes = 0;
    return rest;
  }

  // Progress is that of the whole task.
  CallOptions OptionsOfTheWhole() {
    CallOptions options = options_;
    if (!options_.progress) return options;
    options.progress = [this](uint64_t consumed_bytes, uint64_t total_bytes) {
      all_bytes_ = std::max(all_bytes_, total_bytes);
      options_.progress(all_bytes_ - (total_bytes - consumed_bytes), all_bytes_);
    };
    return options;
  }

  // The summary is that of the last stream; what came before it is looked at here.
  void AddWhatOtherStreamsSaw() {
    if (!is_quantize() || resume_ == begin_) return;
    const auto dtype = static_cast<DataType>(task_.header.dtype());
    const wire::ByteSpan values = task_.inputs.back().bytes;  // after arrays over the channels
    const uint64_t begin = begin_ * SizeBytes(dtype);
    const LocalStatistics before = StatisticsOf(values.subspan(begin, resume_ * SizeBytes(dtype) - begin), dtype);
    summary_.amax = std::max(summary_.amax, before.range.amax);
    if (summary_.lowest.has_value()) summary_.lowest = std::min(*summary_.lowest, before.range.lowest);
    if (summary_.highest.has_value()) summary_.highest = std::max(*summary_.highest, before.range.highest);
    summary_.nonfinite_count += before.nonfinite_count;
  }

  const TensorTask& task_;
  ResumingSink sink_;
  const CallOptions& options_;
  AcceptCache& accepts_;
  const uint64_t begin_;
  const uint64_t end_;
  uint64_t resume_;
  // Errors of two ranges do not combine, and the server alone may know the products.
  bool can_resume_ = !options_.error_metrics && !task_.header.has_smoothing();
  std::optional<v1::Upload> upload_;  // once a server keeps what it finds
  uint64_t upload_begin_bytes_ = 0;   // of the input, on the last stream
  std::string server_instance_;       // that accepted last
  uint64_t all_bytes_ = 0;
  Summary summary_;
};

}  // namespace

absl::StatusOr<Summary> RunTensor(const TensorTask& task, SegmentSink& sink, const CallOptions& options,
                                  const RetryPolicy& policy, const RetryEnvironment& environment,
                                  const std::function<std::unique_ptr<StreamTransport>()>& open, AcceptCache& accepts) {
  TensorRun run(task, sink, options, accepts);
  QUANTD_RETURN_IF_ERROR(RunWithRetries(policy, environment, [&] {
    const auto stream = open();
    return run.Attempt(*stream);
  }));
  return run.TakeSummary();
}

}  // namespace quantd
