#include "client/cpp/tensor_call.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cpp/wire_convert.h"
#include "kernels/base/checked_math.h"
#include "kernels/base/crc32c.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/base/status_macros.h"
#include "kernels/scheme/plan.h"

namespace quantd {
namespace {

constexpr int kSegmentsMax = 64;

absl::Status ProtocolError(const std::string& what) {
  return absl::InternalError(absl::StrCat("The server broke the protocol: ", what, "."));
}

// Cuts the parts of a frame's data into the pieces that lie in them.
class PartsCursor {
 public:
  explicit PartsCursor(std::span<const wire::ByteSpan> parts) : parts_(parts) {}

  // The parts of the next `bytes`, which must be there.
  std::vector<wire::ByteSpan> Take(uint64_t bytes) {
    std::vector<wire::ByteSpan> taken;
    while (bytes > 0) {
      const wire::ByteSpan rest = parts_.front().subspan(position_);
      const wire::ByteSpan part = rest.first(std::min<uint64_t>(bytes, rest.size()));
      if (!part.empty()) taken.push_back(part);
      bytes -= part.size();
      position_ += part.size();
      if (position_ == parts_.front().size()) {
        parts_ = parts_.subspan(1);
        position_ = 0;
      }
    }
    return taken;
  }

 private:
  std::span<const wire::ByteSpan> parts_;
  size_t position_ = 0;
};

// What the server can surely go on with: a unit, or where it needs several inputs for one, a batch; and before that
// all inputs that belong to the whole tensor.
uint64_t ProgressBytes(const v1::Accept& accept) {
  const uint64_t batch_units = accept.unit_elements() == 0 ? 0 : accept.batch_elements() / accept.unit_elements();
  uint64_t whole_tensor_bytes = 0, unit_bytes = 0;
  int inputs = 0;
  for (const v1::Segment& segment : accept.inputs()) {
    if (segment.unit_bytes() == 0) {
      whole_tensor_bytes += std::min<uint64_t>(segment.size_bytes(), UINT32_MAX);
    } else {
      unit_bytes += std::min<uint64_t>(segment.unit_bytes(), UINT32_MAX);
      ++inputs;
    }
  }
  const auto per_units = CheckedMul(unit_bytes, inputs == 1 ? 1 : std::max<uint64_t>(batch_units, 1));
  return per_units.has_value() && *per_units <= UINT64_MAX / 2 ? whole_tensor_bytes + *per_units : UINT64_MAX;
}

// Whether the job makes what the range's units own of a segment, no less and no more.
bool IsPartOfRange(const v1::TensorHeader& header, const v1::Accept& accept, const v1::Segment& segment) {
  if (!header.has_range() || segment.unit_bytes() == 0) return true;
  const uint64_t unit_elements = accept.unit_elements();
  if (unit_elements == 0) return false;
  const auto begin = CheckedMul(header.range().begin() / unit_elements, segment.unit_bytes());
  const auto end = CheckedMul(CeilDiv(header.range().end(), unit_elements), segment.unit_bytes());
  return begin == segment.begin_bytes() &&
         std::min(end.value_or(segment.size_bytes()), segment.size_bytes()) == segment.end_bytes();
}

}  // namespace

TensorCall::TensorCall(const TensorTask& task, uint64_t seq)
    : task_(task),
      seq_(seq),
      order_({}),
      window_bytes_(task.window_before_accept_bytes),
      frame_data_bytes_(std::min(task.frame_data_bytes, wire::kFrameDataBytesMax)) {
  std::vector<Part> parts;
  for (const TensorTask::Input& input : task.inputs) {
    Part part{0, input.bytes.size()};
    if (task.header.has_range() && input.name == kValuesSegment) {
      const uint64_t element_bytes = SizeBytes(static_cast<DataType>(task.header.dtype()));
      part = {task.header.range().begin() * element_bytes, task.header.range().end() * element_bytes};
    }
    parts.push_back(part);
  }
  SetParts(std::move(parts));
}

void TensorCall::SetParts(std::vector<Part> parts) {
  parts_ = std::move(parts);
  std::vector<SendOrder::Segment> segments;
  segments.reserve(parts_.size());
  total_bytes_ = 0;
  for (size_t i = 0; i < parts_.size(); ++i) {
    segments.push_back({task_.inputs[i].name, parts_[i].bytes()});
    total_bytes_ += parts_[i].bytes();
  }
  order_ = SendOrder(std::move(segments));
}

std::optional<uint64_t> TensorCall::resume_element() const {
  if (!accepted_ || unit_elements_ == 0) return std::nullopt;
  std::optional<uint64_t> unit;
  for (const Output& output : outputs_) {
    if (output.unit_bytes == 0) continue;
    // The last unit may be shorter; it is not complete before the summary has come.
    const uint64_t last_byte = output.part.end == 0 ? 0 : output.part.end - 1;
    const uint64_t next = std::min(output.part.begin + output.received, last_byte) / output.unit_bytes;
    unit = std::min(unit.value_or(next), next);
  }
  if (!unit.has_value()) return std::nullopt;
  return CheckedMul(*unit, unit_elements_);
}

uint64_t TensorCall::Credit() const {
  const uint64_t in_flight = sent_bytes_ - consumed_bytes_;
  return in_flight < window_bytes_ ? window_bytes_ - in_flight : 0;
}

bool TensorCall::CanSend() const {
  if (last_sent_ || summary_.has_value()) return false;
  return !header_sent_ || server_error_.has_value() || HasCreditForAFrame();
}

// Credit comes in amounts of the server's. To send each at once would cut the tensor into ever smaller frames.
bool TensorCall::HasCreditForAFrame() const {
  const uint64_t whole_frame = std::min({uint64_t{frame_data_bytes_}, total_bytes_ - sent_bytes_, window_bytes_ / 2});
  const bool more_will_come = sent_bytes_ - consumed_bytes_ >= progress_bytes_;
  return Credit() > 0 && (Credit() >= whole_frame || !more_will_come);
}

std::optional<OutgoingFrame> TensorCall::NextFrame() {
  if (!CanSend()) return std::nullopt;
  OutgoingFrame frame;
  frame.checksums = checksums();
  frame.fields.set_tensor_seq(seq_);
  if (!header_sent_) *frame.fields.mutable_header() = task_.header;
  header_sent_ = true;
  if (!server_error_.has_value()) {
    uint64_t budget = std::min<uint64_t>(Credit(), frame_data_bytes_);
    while (budget > 0 && frame.payload.size() < wire::kFramePiecesMax) {
      const std::optional<Run> run = order_.Next(budget);
      if (!run.has_value()) break;
      AddPiece(*run, frame);
      budget -= run->bytes;
      sent_bytes_ += run->bytes;
    }
  }
  last_sent_ = order_.done() || server_error_.has_value();
  frame.fields.set_last(last_sent_);
  return frame;
}

void TensorCall::AddPiece(const Run& run, OutgoingFrame& frame) const {
  const TensorTask::Input& input = task_.inputs[run.segment];
  const uint64_t offset = parts_[run.segment].begin + run.offset;
  const wire::ByteSpan bytes = input.bytes.subspan(offset, run.bytes);
  v1::Piece& piece = *frame.fields.add_pieces();
  piece.set_segment(input.name);
  piece.set_offset(offset);
  piece.set_length(static_cast<uint32_t>(run.bytes));
  if (frame.payload.empty()) frame.owner = input.owner;
  if (frame.owner != input.owner) frame.owner = nullptr;  // pieces of several owners are copied
  frame.payload.push_back(bytes);
}

absl::Status TensorCall::Receive(const ResponseFields& fields, const KnownAccept* accept,
                                 std::span<const wire::ByteSpan> data, SegmentSink& sink) {
  if (fields.tensor_seq() != seq_) {
    return ProtocolError(absl::StrCat("a response for tensor ", fields.tensor_seq(), " where ", seq_, " is due"));
  }
  if (fields.has_error()) {
    server_error_ = FromResponseError(fields.error());
    return server_error_->status;
  }
  if (accept != nullptr) QUANTD_RETURN_IF_ERROR(TakeAccept(*accept, sink));
  if (!accepted_) return ProtocolError("its first response has neither accept nor error");
  if (fields.consumed_bytes() > sent_bytes_) {
    return ProtocolError(absl::StrCat("it consumed ", fields.consumed_bytes(), " bytes of ", sent_bytes_, " sent"));
  }
  consumed_bytes_ = std::max(consumed_bytes_, fields.consumed_bytes());

  uint64_t data_bytes = 0, piece_bytes = 0;
  for (wire::ByteSpan part : data) data_bytes += part.size();
  for (const v1::Piece& piece : fields.pieces()) piece_bytes += piece.length();
  if (piece_bytes != data_bytes) {
    return ProtocolError(absl::StrCat("pieces of ", piece_bytes, " bytes in a frame with ", data_bytes));
  }
  PartsCursor cursor(data);
  for (const v1::Piece& piece : fields.pieces()) {
    const std::vector<wire::ByteSpan> parts = cursor.Take(piece.length());
    QUANTD_RETURN_IF_ERROR(TakePiece(piece, parts, sink));
  }
  return fields.has_summary() ? TakeSummary(fields.summary()) : absl::OkStatus();
}

absl::Status TensorCall::TakeAccept(const KnownAccept& known, SegmentSink& sink) {
  const v1::Accept& accept = known.message;
  if (accepted_) return ProtocolError("a second accept");
  if (accept.inputs_size() > kSegmentsMax || accept.outputs_size() > kSegmentsMax) {
    return ProtocolError("an accept with too many segments");
  }
  if (accept.frame_data_bytes_max() == 0) return ProtocolError("it takes no data in a frame");
  if (accept.window_bytes() == 0) return ProtocolError("it gives no credit");
  if (!task_.server_instance.empty() && accept.server_instance() != task_.server_instance) {
    return absl::FailedPreconditionError(
        "Another server answers now, or the server was restarted, and what it had of this session is not there. "
        "Calibrate again, or merge the sessions of both servers: export from one, import into the other.");
  }
  QUANTD_RETURN_IF_ERROR(MatchInputs(accept));
  frame_data_bytes_ = std::min(frame_data_bytes_, accept.frame_data_bytes_max());
  window_bytes_ = accept.window_bytes();
  progress_bytes_ = ProgressBytes(accept);
  unit_elements_ = accept.unit_elements();
  server_instance_ = accept.server_instance();
  if (accept.upload_kept()) {
    upload_.emplace();
    upload_->set_id(task_.header.upload().id());
    upload_->set_resume(true);
    upload_->set_server_instance(accept.server_instance());
    upload_->set_epoch(accept.epoch());
  }
  accepted_ = true;
  return MatchOutputs(known, sink);
}

absl::Status TensorCall::MatchInputs(const v1::Accept& accept) {
  std::vector<SegmentOrder> order;
  std::vector<Part> parts = parts_;
  for (const v1::Segment& segment : accept.inputs()) {
    QUANTD_RETURN_IF_ERROR(MatchInput(accept, segment, order));
    if (!is_part()) continue;
    const size_t index = std::find_if(task_.inputs.begin(), task_.inputs.end(),
                                      [&](const TensorTask::Input& one) { return one.name == segment.name(); }) -
                         task_.inputs.begin();
    parts[index] = {segment.begin_bytes(), segment.end_bytes()};
  }
  for (const TensorTask::Input& input : task_.inputs) {
    const auto count =
        std::count_if(order.begin(), order.end(), [&](const SegmentOrder& entry) { return entry.name == input.name; });
    if (count > 1) return ProtocolError(absl::StrCat("an accept that names the input ", input.name, " twice"));
    if (count == 0) {
      return InvalidArgument(reason::kUnknownSegment,
                             absl::StrCat("The scheme has no segment ", input.name, ". Leave it out."));
    }
  }
  const bool as_assumed = std::equal(parts.begin(), parts.end(), parts_.begin(),
                                     [](const Part& a, const Part& b) { return a.begin == b.begin && a.end == b.end; });
  if (!as_assumed) {
    if (sent_bytes_ > 0) return ProtocolError("it takes another part of the tensor than the range");
    SetParts(std::move(parts));
  }
  order_.SetOrder(order);
  return absl::OkStatus();
}

absl::Status TensorCall::MatchInput(const v1::Accept& accept, const v1::Segment& segment,
                                    std::vector<SegmentOrder>& order) {
  const auto input = std::find_if(task_.inputs.begin(), task_.inputs.end(),
                                  [&](const TensorTask::Input& one) { return one.name == segment.name(); });
  if (input == task_.inputs.end()) {
    return InvalidArgument(reason::kIncompleteTensor, absl::StrCat("The scheme needs the segment ", segment.name(),
                                                                   ", which is missing. Add it to the tensor."));
  }
  if (input->bytes.size() != segment.size_bytes()) {
    return InvalidArgument(
        input->bytes.size() > segment.size_bytes() ? reason::kSegmentTooLong : reason::kIncompleteTensor,
        absl::StrCat("Segment ", segment.name(), " has ", input->bytes.size(), " bytes where the scheme needs ",
                     segment.size_bytes(), ". Check shape, type and scheme."),
        {{"segment", segment.name()}, {"needed_bytes", absl::StrCat(segment.size_bytes())}});
  }
  if (segment.begin_bytes() > segment.end_bytes() || segment.end_bytes() > segment.size_bytes()) {
    return ProtocolError(absl::StrCat("a part of ", segment.name(), " that is none"));
  }
  uint64_t batch_bytes = 0;
  if (segment.unit_bytes() != 0) {
    if (accept.unit_elements() == 0) return ProtocolError("an accept without unit_elements");
    // One input needs no batches, and then the server may give none.
    const uint64_t batch_units = accept.batch_elements() / accept.unit_elements();
    batch_bytes = CheckedMul(batch_units, segment.unit_bytes()).value_or(segment.size_bytes());
    if (batch_bytes == 0) batch_bytes = segment.size_bytes();
  }
  order.push_back({segment.name(), batch_bytes});
  return absl::OkStatus();
}

absl::Status TensorCall::MatchOutputs(const KnownAccept& known, SegmentSink& sink) {
  const v1::Accept& accept = known.message;
  for (const v1::Segment& segment : accept.outputs()) {
    for (const Output& output : outputs_) {
      if (output.name == segment.name()) {
        return ProtocolError(absl::StrCat("an accept that names the output ", output.name, " twice"));
      }
    }
    // Else the part is the whole, also where the server does not say so.
    const Part part = is_part() ? Part{segment.begin_bytes(), segment.end_bytes()} : Part{0, segment.size_bytes()};
    if (part.begin > part.end || part.end > segment.size_bytes()) {
      return ProtocolError(absl::StrCat("a part of ", segment.name(), " that is none"));
    }
    if (!IsPartOfRange(task_.header, accept, segment)) {
      return ProtocolError(absl::StrCat("it makes another part of ", segment.name(), " than the range"));
    }
    outputs_.push_back({.name = segment.name(), .part = part, .unit_bytes = segment.unit_bytes()});
  }
  if (task_.values_bytes.has_value()) {
    const bool as_asked = outputs_.size() == 1 && outputs_[0].name == kValuesSegment &&
                          known.output_bytes[0] == *task_.values_bytes &&
                          static_cast<int>(known.outputs[0].dtype) == task_.header.dtype();
    if (!as_asked) return ProtocolError("it offers other values than those asked for");
  }
  return sink.Begin(known.scheme, known.outputs, known.output_bytes);
}

absl::Status TensorCall::TakePiece(const v1::Piece& piece, std::span<const wire::ByteSpan> parts, SegmentSink& sink) {
  const auto output =
      std::find_if(outputs_.begin(), outputs_.end(), [&](const Output& one) { return one.name == piece.segment(); });
  if (output == outputs_.end()) return ProtocolError(absl::StrCat("a piece of unknown segment ", piece.segment()));
  const uint64_t due = output->part.begin + output->received;
  if (piece.offset() != due) {
    return ProtocolError(
        absl::StrCat("a piece of ", piece.segment(), " at byte ", piece.offset(), " where ", due, " was due"));
  }
  if (piece.length() > output->part.end - due) {
    return ProtocolError(absl::StrCat("more than the ", output->part.bytes(), " bytes of ", piece.segment()));
  }
  if (checksums() && piece.length() > 0) {
    if (!piece.has_crc32c()) return ProtocolError(absl::StrCat("a piece of ", piece.segment(), " without checksum"));
    uint32_t crc = 0;
    for (wire::ByteSpan part : parts) crc = ExtendCrc32c(crc, part);
    if (crc != piece.crc32c()) {
      return MakeError(absl::StatusCode::kDataLoss, reason::kChecksumMismatch,
                       absl::StrCat("Bytes of ", piece.segment(), " at ", piece.offset(),
                                    " were damaged on their way. Send the tensor again."),
                       {{"segment", piece.segment()}, {"offset", absl::StrCat(piece.offset())}});
    }
    output->crc = CombineCrc32c(output->crc, crc, piece.length());
  }
  for (wire::ByteSpan part : parts) {
    QUANTD_RETURN_IF_ERROR(sink.Write(output->name, output->part.begin + output->received, part));
    output->received += part.size();
  }
  return absl::OkStatus();
}

absl::Status TensorCall::TakeSummary(const v1::Summary& summary) {
  if (!last_sent_) return ProtocolError("a summary before the tensor's end");
  for (const Output& output : outputs_) {
    if (output.received != output.part.bytes()) {
      return ProtocolError(
          absl::StrCat("it ended ", output.name, " after ", output.received, " of ", output.part.bytes(), " bytes"));
    }
    const auto digest = std::find_if(summary.outputs().begin(), summary.outputs().end(),
                                     [&](const v1::SegmentDigest& one) { return one.name() == output.name; });
    if (digest == summary.outputs().end() || digest->size_bytes() != output.part.bytes()) {
      return ProtocolError(absl::StrCat("a summary without the size of ", output.name));
    }
    if (!checksums()) continue;
    if (!digest->has_crc32c()) return ProtocolError(absl::StrCat("a summary without checksum of ", output.name));
    if (digest->crc32c() != output.crc) {
      return MakeError(absl::StatusCode::kDataLoss, reason::kChecksumMismatch,
                       absl::StrCat("The checksum of all of ", output.name, " does not fit. Send the tensor again."),
                       {{"segment", output.name}});
    }
  }
  summary_ = FromWire(summary);
  return absl::OkStatus();
}

}  // namespace quantd
