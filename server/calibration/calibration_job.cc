#include "server/calibration/calibration_job.h"

#include <algorithm>
#include <utility>

#include "kernels/base/checked_math.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/base/status_macros.h"
#include "server/calibration/calibration_errors.h"
#include "server/calibration/session_config.h"
#include "server/session/piece_check.h"

namespace quantd::server {
namespace {

absl::Status CheckRequest(const TensorRequest& request, const Limits& limits) {
  if (!request.contribution.has_value()) {
    return InvalidCalibration("the header has no contribution. Send session_id and contribution_id.");
  }
  const KnownStatistics& known = request.known;
  const bool has_statistics = known.offset.has_value() || known.amax.has_value() || known.min.has_value() ||
                              known.max.has_value() || known.global_scale.has_value();
  if (!request.scheme.preset.empty() || !request.scheme.overrides.empty() || request.calibration.has_value() ||
      has_statistics || request.error_metrics || request.smoothing.has_value() || request.importance.has_value()) {
    return InvalidCalibration(
        "the header has a scheme, statistics, a calibration, smoothing, importance or error_metrics. They are for "
        "Quantize; leave them out.");
  }
  QUANTD_RETURN_IF_ERROR(CheckId("contribution_id", request.contribution->contribution_id));
  if (request.name.empty() || request.name.size() > limits.name_bytes_max) {
    return InvalidArgument(reason::kInvalidName, "a tensor that is calibrated needs a name of 1 to " +
                                                     std::to_string(limits.name_bytes_max) + " bytes; this has " +
                                                     std::to_string(request.name.size()) + ".");
  }
  if (request.shape.size() > kRankMax) {
    return InvalidArgument(reason::kInvalidShape, "the shape has " + std::to_string(request.shape.size()) +
                                                      " extents; send at most " + std::to_string(kRankMax) + ".");
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> CountElements(const TensorRequest& request) {
  std::optional<uint64_t> elements = 1;
  for (const uint64_t extent : request.shape) {
    if (elements.has_value()) elements = CheckedMul(*elements, extent);
  }
  if (elements.has_value() && *elements <= kTensorBytesMax / SizeBytes(request.dtype)) return *elements;
  return InvalidArgument(reason::kInvalidShape,
                         "the tensor has more than " + std::to_string(kTensorBytesMax) + " bytes. Split it.");
}

absl::StatusOr<TensorRequest::Range> RangeOf(const TensorRequest& request, uint64_t elements) {
  const auto range = request.range.value_or(TensorRequest::Range{0, elements});
  if (range.begin <= range.end && range.end <= elements) return range;
  return InvalidArgument(reason::kUnalignedRange, "the range [" + std::to_string(range.begin) + ", " +
                                                      std::to_string(range.end) + ") is not inside the tensor's " +
                                                      std::to_string(elements) + " elements.");
}

}  // namespace

absl::StatusOr<std::unique_ptr<StreamJob>> CalibrationJob::Start(const TensorRequest& request,
                                                                 const Principal& principal, CalibrationStore& store,
                                                                 const CountKernels& kernels, const Limits& limits,
                                                                 const Clock& clock) {
  QUANTD_RETURN_IF_ERROR(CheckRequest(request, limits));
  const Contribution& contribution = *request.contribution;
  QUANTD_ASSIGN_OR_RETURN(const StatisticsConfig config, ParseSessionConfig(contribution.configuration));
  QUANTD_ASSIGN_OR_RETURN(const uint64_t elements, CountElements(request));
  QUANTD_ASSIGN_OR_RETURN(const TensorRequest::Range range, RangeOf(request, elements));
  QUANTD_ASSIGN_OR_RETURN(SessionUse session,
                          store.Join(principal, contribution.session_id, config, contribution.expected_contributions));
  QUANTD_ASSIGN_OR_RETURN(
      std::optional<ContributedStatistics> contributed,
      session->Begin(request.name, contribution.contribution_id, request.dtype, request.shape, clock.Now()));
  auto partial = std::make_shared<Partial>(Partial{std::move(session), std::move(contributed)});
  return std::unique_ptr<StreamJob>(
      new CalibrationJob(request, elements, range, std::move(partial), kernels, limits, clock));
}

CalibrationJob::CalibrationJob(const TensorRequest& request, uint64_t elements, TensorRequest::Range range,
                               std::shared_ptr<Partial> partial, const CountKernels& kernels, const Limits& limits,
                               const Clock& clock)
    : request_(request),
      element_bytes_(SizeBytes(request.dtype)),
      values_bytes_(elements * element_bytes_),
      begin_bytes_(range.begin * element_bytes_),
      end_bytes_(range.end * element_bytes_),
      partial_(std::move(partial)),
      kernels_(kernels),
      limits_(limits),
      clock_(clock),
      received_end_bytes_(begin_bytes_) {}

std::shared_ptr<const SharedAccept> CalibrationJob::Accept() const {
  AcceptInfo accept;
  const SegmentLayout values{std::string(kValuesSegment), request_.dtype, request_.shape, values_bytes_,
                             element_bytes_};
  accept.inputs.push_back({values, begin_bytes_, end_bytes_});
  accept.unit_elements = 1;
  accept.batch_elements = limits_.slot_bytes / element_bytes_;
  return std::make_shared<const SharedAccept>(std::move(accept));
}

// ---- Input ----

absl::Status CalibrationJob::Take(FrameCursor& cursor) {
  const absl::Time started_at = clock_.Now();
  while (cursor.piece() != nullptr && RegionBytesNeeded() == 0) QUANTD_RETURN_IF_ERROR(TakePiece(cursor));
  summary_.receive_time += clock_.Now() - started_at;
  if (cursor.piece() != nullptr || !cursor.frame().last) return absl::OkStatus();
  if (received_end_bytes_ != end_bytes_) {
    return InvalidArgument(
        reason::kIncompleteTensor,
        "the tensor ended at byte " + std::to_string(received_end_bytes_) + " of \"values\" and " + "should at " +
            std::to_string(end_bytes_) + ". Check dtype, shape and range in the header.",
        {{"expected_end", std::to_string(end_bytes_)}, {"end", std::to_string(received_end_bytes_)}});
  }
  input_complete_ = true;
  return absl::OkStatus();
}

absl::Status CalibrationJob::TakePiece(FrameCursor& cursor) {
  const InputPiece& piece = *cursor.piece();
  if (piece.segment != kValuesSegment) {
    return InvalidArgument(reason::kUnknownSegment,
                           "there is no input segment " + InMessage(piece.segment) + " in this tensor. Send values.");
  }
  if (cursor.piece_bytes_taken() == 0) {
    QUANTD_RETURN_IF_ERROR(CheckPiece(piece, received_end_bytes_, end_bytes_, request_.checksum_kind));
  }
  while (cursor.piece_bytes_left() > 0) {
    if (!filling_.has_value()) {
      const uint64_t bytes_max = limits_.slot_bytes / element_bytes_ * element_bytes_;
      filling_ = Batch{received_end_bytes_, std::min(bytes_max, end_bytes_ - received_end_bytes_), 0, 0, {}};
    }
    if (filling_->region.slot == nullptr) return absl::OkStatus();
    const uint64_t bytes = std::min<uint64_t>(cursor.piece_bytes_left(), filling_->bytes - filling_->filled_bytes);
    cursor.CopyTo(filling_->region.data + filling_->filled_bytes, bytes);
    filling_->filled_bytes += bytes;
    received_end_bytes_ += bytes;
    if (filling_->filled_bytes < filling_->bytes) continue;
    full_.push_back(*std::move(filling_));
    filling_.reset();
  }
  return FinishPiece(cursor, request_.checksum_kind);
}

uint64_t CalibrationJob::RegionBytesNeeded() const {
  return filling_.has_value() && filling_->region.slot == nullptr ? filling_->bytes : 0;
}

// ---- Work ----

std::shared_ptr<Run> CalibrationJob::NextRun() {
  if (run_ != nullptr) return nullptr;
  if (!full_.empty()) {
    Batch batch = std::move(full_.front());
    full_.pop_front();
    return RunOf(batch, batch.bytes);
  }
  if (!filling_.has_value()) return nullptr;
  // What has gathered since the last run: memory is not full, but the processor is free.
  const uint64_t whole_bytes = filling_->filled_bytes / element_bytes_ * element_bytes_;
  return whole_bytes > filling_->taken_bytes ? RunOf(*filling_, whole_bytes) : nullptr;
}

std::shared_ptr<Run> CalibrationJob::RunOf(Batch& batch, uint64_t end_bytes) {
  run_ = std::make_shared<Run>();
  run_->cancelled = cancelled_;
  run_->memory = batch.region;
  run_->input_bytes = end_bytes - batch.taken_bytes;
  const std::span<const std::byte> values(batch.region.data + batch.taken_bytes, run_->input_bytes);
  const uint64_t begin_element = (batch.begin_bytes + batch.taken_bytes) / element_bytes_;
  run_->compute = [partial = partial_, &kernels = kernels_, begin_element, values] {
    if (partial->contributed.has_value()) partial->contributed->statistics.Add(begin_element, values, kernels);
    return absl::OkStatus();
  };
  batch.taken_bytes = end_bytes;
  return run_;
}

// ---- Results ----

absl::StatusOr<std::vector<OutputPiece>> CalibrationJob::TakeResults() {
  if (run_ != nullptr && run_->done) {
    QUANTD_RETURN_IF_ERROR(run_->status);
    consumed_bytes_ += run_->input_bytes;
    summary_.queue_time += run_->queue_time;
    summary_.compute_time += run_->compute_time;
    summary_.device = std::string(run_->device);
    run_ = nullptr;
  }
  const bool all_counted = input_complete_ && run_ == nullptr && full_.empty() && !filling_.has_value();
  if (all_counted && !done_) {
    QUANTD_RETURN_IF_ERROR(Count());
    done_ = true;
  }
  return std::vector<OutputPiece>();
}

absl::Status CalibrationJob::Count() {
  const std::string& contribution_id = request_.contribution->contribution_id;
  if (!partial_->contributed.has_value()) {
    summary_.calibration = {false, partial_->session->ContributionsOf(request_.name)};
    return absl::OkStatus();
  }
  partial_->contributed->statistics.Compact();
  const BucketRange total = partial_->contributed->statistics.Total();
  summary_.nonfinite_count = total.nonfinite;
  if (total.count > total.nonfinite) {
    summary_.amax = total.Absmax();
    summary_.lowest = total.lowest;
    summary_.highest = total.highest;
  }
  ContributedStatistics contributed = *std::move(partial_->contributed);
  partial_->contributed.reset();
  QUANTD_ASSIGN_OR_RETURN(summary_.calibration, partial_->session->Count(request_.name, contribution_id,
                                                                         std::move(contributed), clock_.Now()));
  return absl::OkStatus();
}

}  // namespace quantd::server
