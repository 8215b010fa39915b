// One tensor that is quantized or dequantized.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "kernels/backend/backend.h"
#include "kernels/base/clock.h"
#include "kernels/scheme/plan.h"
#include "kernels/scheme/scale_mean.h"
#include "server/session/frame.h"
#include "server/session/frame_cursor.h"
#include "server/session/input_batch.h"
#include "server/session/limits.h"
#include "server/session/preparation.h"
#include "server/session/run.h"
#include "server/session/spool.h"
#include "server/session/stream_job.h"
#include "server/session/tensor_plan.h"
#include "server/session/upload_store.h"

namespace quantd::server {

// What the tensors of a server share, which outlives them.
struct JobResources {
  const Limits& limits;
  PlanCache& plans;
  SpoolBudget& spool_budget;
  const Clock& clock;
};

// Where uploads are kept, and whose a tensor's is.
struct UploadAccess {
  UploadStore* store = nullptr;
  Principal principal;
};

// What a job has of a segment.
struct SegmentPart {
  uint64_t begin_bytes = 0;
  uint64_t end_bytes = 0;

  uint64_t bytes() const { return end_bytes - begin_bytes; }
};

// Cuts the tensor into batches of whole units, one batch to a region of a slot. Input bytes go into the open batch;
// units whose input is complete become runs; the results of runs leave in the tensor's order.
class TensorJob final : public StreamJob {
 public:
  // Plans and reserves the spool. The errors are those of CheckRequest, PlanCache, UnitsOf, CheckErrorMetrics and
  // SpoolBudget::Reserve. Without a store of uploads request.upload
  // has no effect; with one the errors are also UploadStore's. What `preparation` makes takes the place of the
  // request's statistics, which must be of the same kinds, and nothing else is computed before; such a tensor, and one
  // with arrays of its channels, is not kept as an upload.
  static absl::StatusOr<std::unique_ptr<TensorJob>> Start(const TensorRequest& request, Direction direction,
                                                          const JobResources& resources,
                                                          const UploadAccess& uploads = {},
                                                          std::optional<Preparation> preparation = {});

  std::shared_ptr<const SharedAccept> Accept() const override;
  Priority priority() const override { return request_.priority; }
  DevicePolicy device_policy() const override { return request_.device_policy; }
  uint64_t window_bytes_min() const override;
  uint64_t input_bytes() const override;
  uint64_t output_bytes() const override;
  absl::Status Take(FrameCursor& cursor) override;
  bool has_room_for_input() const override;
  uint64_t RegionBytesNeeded() const override;
  void GiveRegion(Region region) override;
  std::shared_ptr<Run> NextRun() override;
  void GiveBack(Run& run) override;
  // Also INVALID_ARGUMENT with reason NONFINITE_INPUT.
  absl::StatusOr<std::vector<OutputPiece>> TakeResults() override;
  uint64_t consumed_bytes() const override { return consumed_bytes_; }
  uint64_t received_bytes() const { return received_bytes_; }
  uint64_t resume_element() const override;
  bool done() const override { return done_; }
  // The client has sent `last`.
  bool input_complete() const { return input_complete_; }
  bool idle() const override { return runs_.empty() && RegionBytesNeeded() == 0 && is_prepared(); }
  bool needs_no_more_memory() const override;
  void Cancel() override;
  void Suspend() override;
  std::string upload_id() const override { return upload_ != nullptr ? request_.upload->id : ""; }
  bool superseded() const override { return upload_ != nullptr && upload_->superseded(); }
  // `device`: in alphabetical order "cpu", "gpu", "cpu+gpu".
  SummaryInfo Summary() const override;

 private:
  // Bytes of the inputs that belong to the whole tensor, one entry for each input of the first pass.
  using WholeTensorInputs = std::vector<std::vector<std::byte>>;

  TensorJob(const TensorRequest& request, Direction direction, std::shared_ptr<const TensorPlan> planned,
            UnitRange units, std::shared_ptr<Spool> spool, std::shared_ptr<UploadStore::Lease> upload,
            const JobResources& resources, std::optional<Preparation> preparation);
  void GoOnFrom(const UploadProgress& progress, const UploadReference& upload);

  AcceptInfo MakeAccept() const;

  bool is_prepared() const { return !preparation_.has_value() || preparation_->over(); }
  void FinishPreparation();
  void GiveArray(std::string_view segment, const std::vector<float>& channels);
  bool IsGiven(const SegmentLayout& input) const;
  std::string NamesOfInputs() const;

  const Pass& pass() const { return plan_->passes[pass_index_]; }
  // What this job makes in a pass: all units, less what a resumed upload has behind it.
  UnitRange UnitsOfPass(size_t pass) const { return {begin_units_[pass], units_.end}; }
  SegmentPart InputPart(const SegmentLayout& input) const;
  SegmentPart OutputPart(const SegmentLayout& output) const;
  absl::Status TakePiece(FrameCursor& cursor);
  absl::Status FillBatch(FrameCursor& cursor, size_t input);
  absl::Status CheckInputComplete() const;
  absl::Status CheckWholeTensorInputs() const;

  void OpenBatch();
  bool BatchIsFull() const { return UnitsWithInput() == batch_->end_unit; }
  uint64_t UnitsWithInput() const;
  // What has gathered in the open batch is worth computing now: anything if nothing else of the tensor is computed.
  bool OpenBatchHasRun() const;
  void MakeRun(uint64_t end_unit);

  bool InLastPass() const;
  bool PassIsOver() const;
  absl::Status Absorb(Run& run, std::vector<OutputPiece>& pieces);
  void Count(const Run& run);
  void AddToScaleMean(const Run& run);
  void StartSecondPass();
  void AddWholeTensorOutputs(std::vector<OutputPiece>& pieces);
  void AddPiece(OutputPiece piece, std::vector<OutputPiece>& pieces);

  const TensorRequest request_;
  const Direction direction_;
  const std::shared_ptr<const TensorPlan> planned_;
  std::shared_ptr<const Plan> plan_;  // its plan; another when it is prepared, with the same segments
  const UnitRange units_;
  const std::shared_ptr<UploadStore::Lease> upload_;  // null without one
  const std::shared_ptr<Spool> spool_;                // keeps the lease, also for runs
  const Limits& limits_;
  const Clock& clock_;
  const std::shared_ptr<std::atomic<bool>> cancelled_ = std::make_shared<std::atomic<bool>>(false);

  std::array<uint64_t, 2> begin_units_;
  uint64_t counted_before_units_ = 0;  // by an earlier stream of the upload: not counted and not spooled again
  ChannelArrays given_;                // by the preparation
  std::optional<PreparationRun> preparation_;
  absl::Status preparation_status_;

  // Input of the first pass.
  std::vector<uint64_t> input_ends_;  // of each input: where its next piece must begin
  const std::shared_ptr<WholeTensorInputs> whole_tensor_inputs_ = std::make_shared<WholeTensorInputs>();
  uint64_t received_bytes_ = 0;
  bool input_complete_ = false;

  // Batches and runs of the current pass, in the tensor's order.
  uint32_t pass_index_ = 0;
  uint64_t batch_units_max_ = 0;
  uint64_t next_batch_unit_ = 0;
  std::optional<InputBatch> batch_;
  std::deque<std::shared_ptr<Run>> runs_;   // made and not yet absorbed
  std::deque<std::shared_ptr<Run>> ready_;  // of these, not yet handed out
  uint32_t runs_computing_ = 0;

  // Results.
  uint64_t consumed_bytes_ = 0;
  uint64_t results_end_unit_ = 0;  // of the units whose results have been given out
  BatchResult found_;
  ScaleMean scale_mean_;
  uint64_t counted_units_ = 0;   // whose statistics are in these two
  TensorParameters parameters_;  // Quantize: once they are known
  SummaryInfo summary_;
  std::set<std::string_view> devices_;
  bool done_ = false;
};

}  // namespace quantd::server
