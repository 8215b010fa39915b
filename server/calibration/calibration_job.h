// One tensor that is calibrated: its values become statistics, which count at its summary.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "kernels/base/clock.h"
#include "kernels/calibrate/count_kernels.h"
#include "kernels/scheme/plan.h"
#include "server/calibration/calibration_store.h"
#include "server/session/limits.h"
#include "server/session/principal.h"
#include "server/session/stream_job.h"

namespace quantd::server {

// Gathers values in regions of slots and counts them run by run, one run at a time: so a tensor that is under way has
// one state, besides that of its session. What has not come to its summary leaves nothing behind.
class CalibrationJob final : public StreamJob {
 public:
  // Joins the session and reserves the memory of the tensor's statistics. Errors: INVALID_CALIBRATION, INVALID_NAME,
  // INVALID_SHAPE, UNALIGNED_RANGE, and those of ParseSessionConfig, CalibrationStore::Join and
  // CalibrationSession::Begin. All references must outlive it and its runs.
  static absl::StatusOr<std::unique_ptr<StreamJob>> Start(const TensorRequest& request, const Principal& principal,
                                                          CalibrationStore& store, const CountKernels& kernels,
                                                          const Limits& limits, const Clock& clock);

  std::shared_ptr<const SharedAccept> Accept() const override;
  Priority priority() const override { return request_.priority; }
  DevicePolicy device_policy() const override { return request_.device_policy; }
  uint64_t window_bytes_min() const override { return kInitialWindowBytes; }
  uint64_t input_bytes() const override { return end_bytes_ - begin_bytes_; }
  uint64_t output_bytes() const override { return 0; }
  absl::Status Take(FrameCursor& cursor) override;
  uint64_t RegionBytesNeeded() const override;
  void GiveRegion(Region region) override { filling_->region = std::move(region); }
  std::shared_ptr<Run> NextRun() override;
  void GiveBack(Run& run) override { run.done = true; }
  // There are none; but the last call counts the tensor, with the errors of CalibrationSession::Count.
  absl::StatusOr<std::vector<OutputPiece>> TakeResults() override;
  uint64_t consumed_bytes() const override { return consumed_bytes_; }
  // Nothing counts before all of it has come.
  uint64_t resume_element() const override { return begin_bytes_ / element_bytes_; }
  bool done() const override { return done_; }
  bool idle() const override { return run_ == nullptr && full_.empty() && RegionBytesNeeded() == 0; }
  // The next tensor of the stream would have a state of its own.
  bool needs_no_more_memory() const override { return done_; }
  void Cancel() override { cancelled_->store(true, std::memory_order_release); }
  SummaryInfo Summary() const override { return summary_; }

 private:
  // What the runs share with the job. Nothing in `contributed`: this contribution has been counted before.
  struct Partial {
    SessionUse session;
    std::optional<ContributedStatistics> contributed;
  };
  // Bytes [begin, begin + bytes) of the values.
  struct Batch {
    uint64_t begin_bytes = 0;
    uint64_t bytes = 0;
    uint64_t filled_bytes = 0;
    uint64_t taken_bytes = 0;  // by runs
    Region region;
  };

  CalibrationJob(const TensorRequest& request, uint64_t elements, TensorRequest::Range range,
                 std::shared_ptr<Partial> partial, const CountKernels& kernels, const Limits& limits,
                 const Clock& clock);

  absl::Status TakePiece(FrameCursor& cursor);
  std::shared_ptr<Run> RunOf(Batch& batch, uint64_t end_bytes);
  absl::Status Count();

  const TensorRequest request_;
  const uint64_t element_bytes_;
  const uint64_t values_bytes_;  // of the whole tensor
  const uint64_t begin_bytes_;
  const uint64_t end_bytes_;
  const std::shared_ptr<Partial> partial_;
  const CountKernels& kernels_;
  const Limits& limits_;
  const Clock& clock_;
  const std::shared_ptr<std::atomic<bool>> cancelled_ = std::make_shared<std::atomic<bool>>(false);

  uint64_t received_end_bytes_;  // where the next piece begins
  bool input_complete_ = false;
  std::optional<Batch> filling_;
  std::deque<Batch> full_;
  std::shared_ptr<Run> run_;  // that is being computed
  uint64_t consumed_bytes_ = 0;
  SummaryInfo summary_;
  bool done_ = false;
};

}  // namespace quantd::server
