#include "server/session/tensor_job.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/base/crc32c.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/base/status_macros.h"
#include "server/session/error_metrics.h"
#include "server/session/piece_check.h"
#include "server/session/tensor_check.h"

namespace quantd::server {
namespace {

// Batches of the second pass that are under way at once: one computes while the next is read from the spool.
constexpr size_t kSecondPassRunsMax = 2;
// While this many runs of a tensor are computed, an open batch makes no other; and while any is, none of less than this
// many bytes of values, which would not be worth another thread.
constexpr uint32_t kRunsComputingMax = 4;
constexpr uint64_t kRunValueBytesMin = 1 << 20;
// How much may wait for the runs that are being computed.
constexpr uint64_t kPendingBytesMax = 2 << 20;

// The first unit of which the client does not have everything that the pass makes. Whole-tensor segments come anew.
uint64_t FirstUnitWithout(const Plan& plan, const Pass& pass, const std::map<std::string, uint64_t>& received_bytes) {
  uint64_t unit = plan.unit_count();
  for (const SegmentLayout& output : plan.WireOutputs()) {
    if (output.whole_tensor() || FindSegment(pass.outputs, output.name) == nullptr) continue;
    const auto received = received_bytes.find(output.name);
    const uint64_t bytes = received == received_bytes.end() ? 0 : received->second;
    if (bytes < output.bytes) unit = std::min(unit, bytes / output.unit_bytes);
  }
  return unit;
}

// Of a per-unit segment what the units own, of another one all.
SegmentPart PartOf(const Plan& plan, const SegmentLayout& segment, UnitRange units) {
  if (segment.whole_tensor()) return {0, segment.bytes};
  const auto [begin, end] = plan.BytesOf(segment, units.begin, units.end);
  return {begin, end};
}

}  // namespace

absl::StatusOr<std::unique_ptr<TensorJob>> TensorJob::Start(const TensorRequest& request, Direction direction,
                                                            const JobResources& resources, const UploadAccess& uploads,
                                                            std::optional<Preparation> preparation) {
  QUANTD_RETURN_IF_ERROR(CheckRequest(request, resources.limits));
  QUANTD_ASSIGN_OR_RETURN(auto planned, resources.plans.PlanOf(request, direction));
  const Plan& plan = planned->plan;
  const auto range = request.range.value_or(TensorRequest::Range{0, plan.element_count});
  QUANTD_ASSIGN_OR_RETURN(const UnitRange units, UnitsOf(plan, range.begin, range.end));
  QUANTD_RETURN_IF_ERROR(CheckErrorMetrics(request, plan));
  std::shared_ptr<Spool> spool;
  std::shared_ptr<UploadStore::Lease> upload;
  const bool has_upload = uploads.store != nullptr && request.upload.has_value();
  if (has_upload) QUANTD_RETURN_IF_ERROR(UploadStore::CheckId(request.upload->id));
  if (has_upload && request.upload->resume) {
    QUANTD_ASSIGN_OR_RETURN(upload, uploads.store->Resume(uploads.principal, request));
  } else if (plan.NeedsSpool()) {
    const auto make_room = [&uploads] { return uploads.store != nullptr && uploads.store->DropOne(); };
    QUANTD_ASSIGN_OR_RETURN(auto reserved,
                            resources.spool_budget.Reserve(plan.SpoolBytes(), MissingStatistics(plan), make_room));
    // What a stream was given for its channels may be another's on the next.
    const bool is_repeatable = plan.channel_arrays == ChannelArrays{} && !preparation.has_value();
    if (has_upload && is_repeatable) {
      upload = uploads.store->Begin(uploads.principal, request, std::move(reserved));
    } else {
      spool = std::move(reserved);
    }
  }
  if (upload != nullptr) spool = {upload, &upload->spool()};
  return std::unique_ptr<TensorJob>(new TensorJob(request, direction, std::move(planned), units, std::move(spool),
                                                  std::move(upload), resources, std::move(preparation)));
}

TensorJob::TensorJob(const TensorRequest& request, Direction direction, std::shared_ptr<const TensorPlan> planned,
                     UnitRange units, std::shared_ptr<Spool> spool, std::shared_ptr<UploadStore::Lease> upload,
                     const JobResources& resources, std::optional<Preparation> preparation)
    : request_(request),
      direction_(direction),
      planned_(std::move(planned)),
      plan_(planned_, &planned_->plan),
      units_(units),
      upload_(std::move(upload)),
      spool_(std::move(spool)),
      limits_(resources.limits),
      clock_(resources.clock),
      begin_units_{units.begin, units.begin},
      results_end_unit_(units.begin) {
  if (upload_ != nullptr && request_.upload->resume) GoOnFrom(upload_->progress(), *request_.upload);
  next_batch_unit_ = begin_units_[0];
  if (preparation.has_value()) {
    given_ = preparation->makes;
    preparation_.emplace(*std::move(preparation), cancelled_);
  }
  if (direction_ == Direction::kQuantize && InLastPass()) parameters_ = ParametersOf(*plan_, {}, 0);
  for (const SegmentLayout& input : pass().inputs) {
    const SegmentPart part = InputPart(input);
    input_ends_.push_back(IsGiven(input) ? part.end_bytes : part.begin_bytes);
    whole_tensor_inputs_->emplace_back(input.whole_tensor() ? input.bytes : 0);
  }
  batch_units_max_ = UnitsThatFit(pass(), units_.end - units_.begin, limits_.slot_bytes);
  for (const SegmentLayout& output : planned_->outputs) summary_.outputs.push_back({output.name, 0, std::nullopt});
}

// The client sends again what it lacks results of, and no more. The second pass is not interrupted where errors are
// summed up: they are those of one stream.
void TensorJob::GoOnFrom(const UploadProgress& progress, const UploadReference& upload) {
  counted_before_units_ = counted_units_ = progress.counted_units;
  found_ = progress.found;
  scale_mean_ = progress.scale_mean;
  begin_units_[0] = std::min(counted_units_, FirstUnitWithout(*plan_, plan_->passes[0], upload.received_bytes));
  if (request_.error_metrics) return;
  begin_units_[1] = FirstUnitWithout(*plan_, plan_->passes[1], upload.received_bytes);
}

SegmentPart TensorJob::InputPart(const SegmentLayout& input) const { return PartOf(*plan_, input, UnitsOfPass(0)); }

SegmentPart TensorJob::OutputPart(const SegmentLayout& output) const {
  const bool of_first_pass = FindSegment(plan_->passes[0].outputs, output.name) != nullptr;
  return PartOf(*plan_, output, UnitsOfPass(of_first_pass ? 0 : 1));
}

std::shared_ptr<const SharedAccept> TensorJob::Accept() const {
  const auto make = [this] { return std::make_shared<const SharedAccept>(MakeAccept()); };
  const bool is_whole = units_.begin == 0 && units_.end == plan_->unit_count();
  const bool is_shared = is_whole && upload_ == nullptr && given_ == ChannelArrays{};
  return is_shared ? planned_->accept.Get(make) : make();
}

AcceptInfo TensorJob::MakeAccept() const {
  AcceptInfo accept{FullyResolved(plan_->scheme), {}, {}, plan_->unit_elements, 0};
  for (const SegmentLayout& segment : planned_->inputs) {
    const auto [begin_bytes, end_bytes] = InputPart(segment);
    if (!IsGiven(segment)) accept.inputs.push_back({segment, begin_bytes, end_bytes});
  }
  for (const SegmentLayout& segment : planned_->outputs) {
    const auto [begin_bytes, end_bytes] = OutputPart(segment);
    accept.outputs.push_back({segment, begin_bytes, end_bytes});
  }
  accept.batch_elements =
      std::max<uint64_t>(1, UnitsThatFit(plan_->passes[0], units_.end - units_.begin, limits_.slot_bytes)) *
      plan_->unit_elements;
  accept.upload_kept = upload_ != nullptr;
  return accept;
}

uint64_t TensorJob::window_bytes_min() const {
  const Pass& first = plan_->passes[0];
  uint64_t whole_tensor_bytes = 0;  // consumed at once, but said so with the first results only
  uint64_t batch_bytes = 0;
  uint64_t unit_bytes = 0;
  size_t segments = 0;
  for (const SegmentLayout& input : first.inputs) {
    if (input.whole_tensor()) {
      whole_tensor_bytes += input.bytes;
      continue;
    }
    ++segments;
    unit_bytes += input.unit_bytes;
    batch_bytes += input.unit_bytes * batch_units_max_;
  }
  return std::max(kInitialWindowBytes, whole_tensor_bytes + (segments == 1 ? unit_bytes : batch_bytes));
}

uint64_t TensorJob::input_bytes() const {
  uint64_t bytes = 0;
  for (const SegmentLayout& input : planned_->inputs) {
    if (!IsGiven(input)) bytes += InputPart(input).bytes();
  }
  return bytes;
}

uint64_t TensorJob::output_bytes() const {
  uint64_t bytes = 0;
  for (const SegmentLayout& output : planned_->outputs) bytes += OutputPart(output).bytes();
  return bytes;
}

uint64_t TensorJob::resume_element() const {
  const uint64_t unit = plan_->passes.size() == 1 ? results_end_unit_ : units_.begin;
  return std::min(unit * plan_->unit_elements, plan_->element_count);
}

// ---- What is computed before everything else ----

bool TensorJob::IsGiven(const SegmentLayout& input) const {
  return (given_.smoothing_factors && input.name == kSmoothingFactorsSegment) ||
         (given_.importance && input.name == kImportanceSegment);
}

std::string TensorJob::NamesOfInputs() const {
  std::string names;
  for (const SegmentLayout& input : planned_->inputs) {
    if (!IsGiven(input)) names += (names.empty() ? "" : ", ") + input.name;
  }
  return names;
}

void TensorJob::FinishPreparation() {
  absl::StatusOr<Prepared> prepared = preparation_->Finish();
  preparation_status_ = prepared.status();
  if (!prepared.ok()) return;
  auto plan = std::make_shared<Plan>(*plan_);
  plan->known = prepared->known;
  plan_ = std::move(plan);
  if (InLastPass()) parameters_ = ParametersOf(*plan_, {}, 0);
  GiveArray(kSmoothingFactorsSegment, prepared->smoothing_factors);
  GiveArray(kImportanceSegment, prepared->importance);
  for (const std::shared_ptr<Run>& run : ready_) {
    run->plan = plan_;
    run->units.parameters = parameters_;
  }
}

void TensorJob::GiveArray(std::string_view segment, const std::vector<float>& channels) {
  for (size_t i = 0; i < input_ends_.size(); ++i) {
    const SegmentLayout& input = plan_->passes[0].inputs[i];
    if (input.name != segment || !IsGiven(input) || !preparation_status_.ok()) continue;
    const auto bytes = std::as_bytes(std::span(channels));
    preparation_status_ = CheckChannelArray(segment, bytes);
    if (!bytes.empty()) std::memcpy((*whole_tensor_inputs_)[i].data(), bytes.data(), bytes.size());
  }
}

// ---- Input ----

absl::Status TensorJob::Take(FrameCursor& cursor) {
  const absl::Time started_at = clock_.Now();
  while (cursor.piece() != nullptr && RegionBytesNeeded() == 0) QUANTD_RETURN_IF_ERROR(TakePiece(cursor));
  summary_.receive_time += clock_.Now() - started_at;
  if (cursor.piece() == nullptr && cursor.frame().last) {
    QUANTD_RETURN_IF_ERROR(CheckInputComplete());
    input_complete_ = true;
  }
  return absl::OkStatus();
}

absl::Status TensorJob::TakePiece(FrameCursor& cursor) {
  const InputPiece& piece = *cursor.piece();
  const auto& inputs = plan_->passes[0].inputs;
  const auto found = std::find_if(inputs.begin(), inputs.end(),
                                  [&](const auto& input) { return input.name == piece.segment && !IsGiven(input); });
  if (found == inputs.end()) {
    return InvalidArgument(reason::kUnknownSegment, "there is no input segment \"" + piece.segment.substr(0, 64) +
                                                        "\" in this tensor. Send " + NamesOfInputs() + ".");
  }
  const size_t input = static_cast<size_t>(found - inputs.begin());
  if (cursor.piece_bytes_taken() == 0) {
    const uint64_t end_bytes = InputPart(*found).end_bytes;
    QUANTD_RETURN_IF_ERROR(CheckPiece(piece, input_ends_[input], end_bytes, request_.checksum_kind));
  }
  if (found->whole_tensor()) {
    const uint64_t bytes = cursor.piece_bytes_left();
    cursor.CopyTo((*whole_tensor_inputs_)[input].data() + input_ends_[input], bytes);
    input_ends_[input] += bytes;
    received_bytes_ += bytes;
    consumed_bytes_ += bytes;
    const bool is_array = found->name == kSmoothingFactorsSegment || found->name == kImportanceSegment;
    if (is_array && input_ends_[input] == found->bytes) {
      QUANTD_RETURN_IF_ERROR(CheckChannelArray(found->name, (*whole_tensor_inputs_)[input]));
    }
  } else {
    QUANTD_RETURN_IF_ERROR(FillBatch(cursor, input));
    if (cursor.piece_bytes_left() == 0 && IsDeferred(piece)) {
      cursor.NextPiece();  // it is checked when it is copied
      return absl::OkStatus();
    }
  }
  return cursor.piece_bytes_left() == 0 ? FinishPiece(cursor, request_.checksum_kind) : absl::OkStatus();
}

absl::Status TensorJob::FillBatch(FrameCursor& cursor, size_t input) {
  const SegmentLayout& segment = plan_->passes[0].inputs[input];
  while (cursor.piece_bytes_left() > 0) {
    if (!batch_.has_value()) OpenBatch();
    if (batch_->region.slot == nullptr) return absl::OkStatus();
    const auto [begin, end] = plan_->BytesOf(segment, batch_->begin_unit, batch_->end_unit);
    if (input_ends_[input] == end) {
      return InvalidArgument(
          reason::kSegmentOrder,
          "\"" + segment.name +
              "\" runs ahead into the next batch while another segment of this batch is incomplete. Send all "
              "input segments of one batch (Accept.batch_elements elements) before any of the next.");
    }
    const uint64_t bytes = std::min<uint64_t>(cursor.piece_bytes_left(), end - input_ends_[input]);
    std::byte* const target = batch_->region.data + batch_->layout.inputs[input].offset + (input_ends_[input] - begin);
    QUANTD_RETURN_IF_ERROR(batch_->Take(cursor, input, target, bytes, request_.checksum_kind));
    input_ends_[input] += bytes;
    received_bytes_ += bytes;
    if (BatchIsFull()) {
      QUANTD_RETURN_IF_ERROR(CheckWholeTensorInputs());
      MakeRun(batch_->end_unit);
      batch_.reset();
    }
  }
  return absl::OkStatus();
}

bool TensorJob::has_room_for_input() const {
  return runs_computing_ == 0 || !batch_.has_value() || batch_->pending_bytes() < kPendingBytesMax;
}

absl::Status TensorJob::CheckInputComplete() const {
  for (size_t i = 0; i < input_ends_.size(); ++i) {
    const SegmentLayout& input = plan_->passes[0].inputs[i];
    const SegmentPart part = InputPart(input);
    if (input_ends_[i] == part.end_bytes) continue;
    return InvalidArgument(reason::kIncompleteTensor,
                           "the tensor ended at byte " + std::to_string(input_ends_[i]) + " of \"" + input.name +
                               "\", which has " + std::to_string(part.end_bytes) +
                               ". Check dtype, shape and range in the header.",
                           {{"segment", input.name},
                            {"expected_end", std::to_string(part.end_bytes)},
                            {"end", std::to_string(input_ends_[i])}});
  }
  return absl::OkStatus();
}

absl::Status TensorJob::CheckWholeTensorInputs() const {
  for (size_t i = 0; i < input_ends_.size(); ++i) {
    const SegmentLayout& segment = plan_->passes[0].inputs[i];
    if (segment.whole_tensor() && input_ends_[i] < segment.bytes) {
      return InvalidArgument(
          reason::kSegmentOrder,
          "\"" + segment.name + "\" belongs to the whole tensor. Send it before the other segments.");
    }
  }
  return absl::OkStatus();
}

// ---- Batches and runs ----

void TensorJob::OpenBatch() {
  uint64_t units = std::min(batch_units_max_, units_.end - next_batch_unit_);
  // No run is counted in part.
  const bool counted_before = pass_index_ == 0 && next_batch_unit_ < counted_before_units_;
  if (counted_before) units = std::min(units, counted_before_units_ - next_batch_unit_);
  batch_.emplace(next_batch_unit_, next_batch_unit_ + units, LayOut(pass(), units));
  next_batch_unit_ += units;
}

uint64_t TensorJob::RegionBytesNeeded() const {
  return batch_.has_value() && batch_->region.slot == nullptr ? batch_->layout.bytes : 0;
}

void TensorJob::GiveRegion(Region region) {
  batch_->region = std::move(region);
  if (pass_index_ == 0) return;
  MakeRun(batch_->end_unit);  // the second pass has its input in the spool
  batch_.reset();
  if (next_batch_unit_ < units_.end && runs_.size() < kSecondPassRunsMax) OpenBatch();
}

uint64_t TensorJob::UnitsWithInput() const {
  uint64_t units = batch_->end_unit;
  for (size_t i = 0; i < input_ends_.size(); ++i) {
    const SegmentLayout& segment = plan_->passes[0].inputs[i];
    if (segment.whole_tensor()) continue;
    const bool all = input_ends_[i] == plan_->BytesOf(segment, batch_->begin_unit, batch_->end_unit).second;
    if (!all) units = std::min(units, input_ends_[i] / segment.unit_bytes);
  }
  return units;
}

bool TensorJob::OpenBatchHasRun() const {
  if (!batch_.has_value() || batch_->region.slot == nullptr) return false;
  const uint64_t end_unit = UnitsWithInput();
  if (end_unit <= batch_->submitted_unit || runs_computing_ >= kRunsComputingMax) return false;
  const uint64_t elements = plan_->ElementsOf(batch_->submitted_unit, end_unit);
  return runs_computing_ == 0 || elements * SizeBytes(plan_->values_dtype) >= kRunValueBytesMin;
}

void TensorJob::MakeRun(uint64_t end_unit) {
  auto run = std::make_shared<Run>();
  run->plan = plan_;
  run->cancelled = cancelled_;
  run->spool = spool_;
  run->spooled_before = end_unit <= counted_before_units_;
  run->memory = batch_->region;
  run->whole_tensor_inputs = whole_tensor_inputs_;
  run->piece_bytes_max = limits_.response_data_bytes;
  run->checksums = request_.checksum_kind != ChecksumKind::kNone;
  UnitBatch& units = run->units;
  units.pass = pass_index_;
  units.begin_unit = batch_->submitted_unit;
  units.end_unit = end_unit;
  units.parameters = parameters_;
  units.error_metrics = request_.error_metrics && direction_ == Direction::kQuantize && InLastPass();
  // Where the run's first unit lies in the batch's area of a segment.
  const auto place = [&](const SegmentLayout& segment, const Area& area) {
    return batch_->region.data + area.offset + (units.begin_unit - batch_->begin_unit) * segment.unit_bytes;
  };
  for (size_t i = 0; i < pass().inputs.size(); ++i) {
    const SegmentLayout& segment = pass().inputs[i];
    units.inputs[i] =
        segment.whole_tensor() ? (*whole_tensor_inputs_)[i].data() : place(segment, batch_->layout.inputs[i]);
  }
  for (size_t i = 0; i < pass().outputs.size(); ++i) {
    const SegmentLayout& segment = pass().outputs[i];
    if (!segment.whole_tensor()) units.outputs[i] = place(segment, batch_->layout.outputs[i]);
  }
  if (pass_index_ == 0) batch_->HandOver(*run, input_ends_);
  runs_.push_back(run);
  ready_.push_back(std::move(run));
}

std::shared_ptr<Run> TensorJob::NextRun() {
  if (!is_prepared()) return preparation_->TakeRun();
  if (ready_.empty() && OpenBatchHasRun() && CheckWholeTensorInputs().ok()) MakeRun(UnitsWithInput());
  if (ready_.empty()) return nullptr;
  std::shared_ptr<Run> run = std::move(ready_.front());
  ready_.pop_front();
  ++runs_computing_;
  return run;
}

void TensorJob::GiveBack(Run& run) {
  if (preparation_.has_value() && preparation_->Is(run)) {
    summary_.queue_time += run.queue_time;
    summary_.compute_time += run.compute_time;
    return FinishPreparation();
  }
  run.done = true;
  run.spool = nullptr;  // with it the lease of an upload, for whoever computed it may keep the run for a while
  --runs_computing_;
}

void TensorJob::Cancel() {
  cancelled_->store(true, std::memory_order_release);
  if (upload_ != nullptr) upload_->Forget();
}

void TensorJob::Suspend() {
  Cancel();
  if (upload_ == nullptr) return;
  BatchResult found = found_;
  found.errors = {};  // the second pass's
  upload_->Keep({counted_units_, found, scale_mean_});
}

bool TensorJob::needs_no_more_memory() const {
  return input_complete_ && InLastPass() && next_batch_unit_ == units_.end && !batch_.has_value();
}

// ---- Results ----

absl::StatusOr<std::vector<OutputPiece>> TensorJob::TakeResults() {
  QUANTD_RETURN_IF_ERROR(preparation_status_);
  std::vector<OutputPiece> pieces;
  while (!runs_.empty() && runs_.front()->done) {
    QUANTD_RETURN_IF_ERROR(Absorb(*runs_.front(), pieces));
    runs_.pop_front();
  }
  if (PassIsOver() && !InLastPass()) StartSecondPass();
  if (PassIsOver() && !done_) {
    AddWholeTensorOutputs(pieces);
    done_ = true;
  } else if (pass_index_ > 0 && !batch_.has_value() && next_batch_unit_ < units_.end &&
             runs_.size() < kSecondPassRunsMax) {
    OpenBatch();
  }
  return pieces;
}

bool TensorJob::InLastPass() const { return pass_index_ + 1 == plan_->passes.size(); }

bool TensorJob::PassIsOver() const {
  return input_complete_ && is_prepared() && runs_.empty() && !batch_.has_value() && next_batch_unit_ == units_.end;
}

absl::Status TensorJob::Absorb(Run& run, std::vector<OutputPiece>& pieces) {
  QUANTD_RETURN_IF_ERROR(run.status);
  const BatchResult& result = run.result;
  if (result.nonfinite_count > 0 && plan_->scheme.nonfinite == NonfinitePolicy::kReject) {
    return InvalidArgument(
        reason::kNonfiniteInput,
        "element " + std::to_string(result.first_nonfinite_element) +
            (plan_->channel_arrays.smoothing_factors ? ", times its smoothing factor," : "") +
            " is NaN or infinite. Repair the tensor, or set the override nonfinite to saturate or library.",
        {{"element", std::to_string(result.first_nonfinite_element)}});
  }
  consumed_bytes_ += run.input_bytes;
  results_end_unit_ = run.units.end_unit;
  if (run.units.pass == 0) {
    Count(run);
  } else {
    found_.errors.Merge(result.errors);  // spooled values have been looked at before
  }
  devices_.insert(run.device);
  summary_.queue_time += run.queue_time;
  summary_.receive_time += run.receive_time;
  summary_.compute_time += run.compute_time;
  for (OutputPiece& piece : run.pieces) AddPiece(std::move(piece), pieces);
  return absl::OkStatus();
}

void TensorJob::Count(const Run& run) {
  if (run.units.end_unit <= counted_before_units_) return;
  found_.Merge(run.result);
  AddToScaleMean(run);
  counted_units_ = run.units.end_unit;
}

// Of a plan without spooled scales there is nothing to add.
void TensorJob::AddToScaleMean(const Run& run) {
  const auto& outputs = plan_->passes[0].outputs;
  const SegmentLayout* const scales = FindSegment(outputs, kSpooledScalesSegment);
  if (scales == nullptr) return;
  const std::byte* next = run.units.outputs[static_cast<size_t>(scales - outputs.data())];
  for (uint64_t unit = run.units.begin_unit; unit < run.units.end_unit; ++unit) {
    const auto [begin, end] = plan_->BytesOf(*scales, unit, unit + 1);
    scale_mean_.AddNestedBlock(next, (end - begin) / sizeof(float));
    next += end - begin;
  }
}

void TensorJob::StartSecondPass() {
  parameters_ = ParametersOf(*plan_, found_.range, scale_mean_.Mean());
  pass_index_ = 1;
  next_batch_unit_ = begin_units_[1];
  batch_units_max_ = UnitsThatFit(pass(), units_.end - units_.begin, limits_.slot_bytes);
  if (next_batch_unit_ < units_.end) OpenBatch();
}

void TensorJob::AddWholeTensorOutputs(std::vector<OutputPiece>& pieces) {
  for (const SegmentLayout& segment : pass().outputs) {
    if (!segment.whole_tensor()) continue;
    auto bytes = std::make_shared<std::vector<std::byte>>(WholeTensorBytes(*plan_, segment, parameters_));
    OutputPiece piece{segment.name, 0, *bytes, bytes, std::nullopt};
    if (request_.checksum_kind != ChecksumKind::kNone) piece.crc32c = ExtendCrc32c(0, piece.bytes);
    AddPiece(std::move(piece), pieces);
  }
}

void TensorJob::AddPiece(OutputPiece piece, std::vector<OutputPiece>& pieces) {
  const auto digest = std::find_if(summary_.outputs.begin(), summary_.outputs.end(),
                                   [&](const auto& output) { return output.segment == piece.segment; });
  digest->bytes += piece.bytes.size();
  if (piece.crc32c.has_value()) {
    digest->crc32c = CombineCrc32c(digest->crc32c.value_or(0), *piece.crc32c, piece.bytes.size());
  }
  pieces.push_back(std::move(piece));
}

SummaryInfo TensorJob::Summary() const {
  SummaryInfo summary = summary_;
  for (const std::string_view device : devices_) {
    summary.device.append(summary.device.empty() ? "" : "+").append(device);
  }
  summary.amax = found_.range.amax;
  if (direction_ == Direction::kQuantize && plan_->recipe.has_zero_points) {
    summary.lowest = found_.range.lowest;
    summary.highest = found_.range.highest;
  }
  summary.nonfinite_count = found_.nonfinite_count;
  if (request_.error_metrics && direction_ == Direction::kQuantize) summary.errors = ErrorMetricsOf(found_.errors);
  if (request_.checksum_kind == ChecksumKind::kNone) return summary;
  for (auto& output : summary.outputs) output.crc32c = output.crc32c.value_or(0);  // of no bytes
  return summary;
}

}  // namespace quantd::server
