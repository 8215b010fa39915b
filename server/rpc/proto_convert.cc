#include "server/rpc/proto_convert.h"

#include <memory>
#include <utility>
#include <vector>

#include "grpcpp/support/slice.h"
#include "kernels/base/data_type.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/base/status_macros.h"
#include "proto/codec/fields_memory.h"
#include "proto/codec/grpc_frame.h"
#include "server/rpc/grpc_status.h"

namespace quantd::server {
namespace {

constexpr uint64_t kCopiedDataBytesMax = 64 << 10;

KnownStatistics ToKnownStatistics(const v1::Statistics& statistics) {
  KnownStatistics known;
  if (statistics.has_offset()) known.offset = statistics.offset();
  if (statistics.has_amax()) known.amax = statistics.amax();
  if (statistics.has_min()) known.min = statistics.min();
  if (statistics.has_max()) known.max = statistics.max();
  if (statistics.has_global_scale()) known.global_scale = statistics.global_scale();
  return known;
}

CalibrationReference ToReference(const v1::CalibrationReference& reference) {
  CalibrationReference result{
      reference.session_id(), {reference.tensors().begin(), reference.tensors().end()}, reference.method(), {}};
  if (reference.has_percentile()) result.percentile = reference.percentile();
  return result;
}

SmoothingSource ToSource(const v1::SmoothingSource& source) {
  SmoothingSource result{
      source.session_id(), source.activations(), {source.weights().begin(), source.weights().end()}, {}};
  if (source.has_alpha()) result.alpha = source.alpha();
  return result;
}

Contribution ToContribution(const v1::Contribution& contribution) {
  return {contribution.session_id(),
          {contribution.configuration().begin(), contribution.configuration().end()},
          contribution.contribution_id(),
          contribution.expected_contributions()};
}

UploadReference ToUpload(const v1::Upload& upload) {
  UploadReference result{upload.id(), upload.resume(), upload.server_instance(), upload.epoch(), {}};
  for (const v1::ReceivedSegment& segment : upload.received()) {
    result.received_bytes[segment.name()] = segment.end_bytes();
  }
  return result;
}

absl::StatusOr<TensorRequest> ToTensorRequest(const v1::TensorHeader& header) {
  TensorRequest request;
  request.name = header.name();
  const auto dtype = DataTypeNumbered(header.dtype());
  if (!dtype.has_value()) {
    return InvalidArgument(reason::kInvalidDtype,
                           "dtype " + std::to_string(header.dtype()) +
                               " is none. Send DATA_TYPE_FLOAT32, DATA_TYPE_FLOAT16 or DATA_TYPE_BFLOAT16.");
  }
  request.dtype = *dtype;
  request.shape.assign(header.shape().begin(), header.shape().end());
  request.scheme.preset = header.scheme().preset();
  request.scheme.overrides.insert(header.scheme().overrides().begin(), header.scheme().overrides().end());
  request.scheme.format_revision = header.scheme().format_revision();
  request.known = ToKnownStatistics(header.statistics());
  if (header.has_range()) request.range = {header.range().begin(), header.range().end()};
  request.device_policy = header.device_policy() == v1::DEVICE_POLICY_GPU   ? DevicePolicy::kGpu
                          : header.device_policy() == v1::DEVICE_POLICY_CPU ? DevicePolicy::kCpu
                                                                            : DevicePolicy::kAuto;
  request.priority = header.priority() == v1::PRIORITY_LOW    ? Priority::kLow
                     : header.priority() == v1::PRIORITY_HIGH ? Priority::kHigh
                                                              : Priority::kNormal;
  request.checksum_kind = header.checksum_kind() == v1::CHECKSUM_KIND_CRC32C ? ChecksumKind::kCrc32c
                          : header.checksum_kind() == v1::CHECKSUM_KIND_NONE ? ChecksumKind::kNone
                                                                             : ChecksumKind::kWherePresent;
  request.error_metrics = header.error_metrics();
  if (header.has_calibration()) request.calibration = ToReference(header.calibration());
  if (header.has_smoothing()) request.smoothing = ToSource(header.smoothing());
  if (header.has_importance()) {
    request.importance = ImportanceSource{header.importance().session_id(), header.importance().activations()};
  }
  if (header.has_contribution()) request.contribution = ToContribution(header.contribution());
  if (header.has_upload()) request.upload = ToUpload(header.upload());
  return request;
}

void Fill(const JobSegment& segment, v1::Segment& proto) {
  proto.set_name(segment.layout.name);
  proto.set_dtype(static_cast<v1::DataType>(segment.layout.dtype));
  proto.mutable_shape()->Assign(segment.layout.shape.begin(), segment.layout.shape.end());
  proto.set_size_bytes(segment.layout.bytes);
  proto.set_begin_bytes(segment.begin_bytes);
  proto.set_end_bytes(segment.end_bytes);
  proto.set_unit_bytes(segment.layout.unit_bytes);
}

std::string Encoded(const AcceptInfo& accept, const AcceptConstants& constants) {
  v1::Accept proto;
  *proto.mutable_scheme() = ToProto(accept.scheme);
  for (const JobSegment& segment : accept.inputs) Fill(segment, *proto.add_inputs());
  for (const JobSegment& segment : accept.outputs) Fill(segment, *proto.add_outputs());
  proto.set_unit_elements(accept.unit_elements);
  proto.set_batch_elements(accept.batch_elements);
  proto.set_frame_data_bytes_max(constants.frame_data_bytes_max);
  proto.set_server_instance(constants.server_instance);
  proto.set_epoch(constants.epoch);
  proto.set_upload_kept(accept.upload_kept);
  return proto.SerializeAsString();
}

std::string AcceptField(const ResponseFrame& frame, const AcceptConstants& constants) {
  if (frame.accept == nullptr) return "";
  v1::Accept own;
  own.set_window_bytes(frame.window_bytes);
  const std::string& shared = frame.accept->wire.Get([&] { return Encoded(frame.accept->info, constants); });
  return wire::EncodeMessageField(v1::QuantizeResponse::kAcceptFieldNumber, {shared, own.SerializeAsString()});
}

void Fill(const SummaryInfo& summary, v1::Summary& proto) {
  for (const SummaryInfo::Digest& digest : summary.outputs) {
    v1::SegmentDigest& output = *proto.add_outputs();
    output.set_name(digest.segment);
    output.set_size_bytes(digest.bytes);
    if (digest.crc32c.has_value()) output.set_crc32c(*digest.crc32c);
  }
  proto.set_amax(summary.amax);
  if (summary.lowest.has_value()) proto.set_lowest(*summary.lowest);
  if (summary.highest.has_value()) proto.set_highest(*summary.highest);
  proto.set_nonfinite_count(summary.nonfinite_count);
  v1::PhaseTimes& times = *proto.mutable_times();
  times.set_receive_ns(absl::ToInt64Nanoseconds(summary.receive_time));
  times.set_queue_ns(absl::ToInt64Nanoseconds(summary.queue_time));
  times.set_compute_ns(absl::ToInt64Nanoseconds(summary.compute_time));
  times.set_total_ns(absl::ToInt64Nanoseconds(summary.total_time));
  proto.set_device(summary.device);
  if (summary.errors.has_value()) {
    v1::ErrorMetrics& errors = *proto.mutable_errors();
    errors.set_count(summary.errors->count);
    errors.set_mean_squared_error(summary.errors->mean_squared_error);
    errors.set_max_error(summary.errors->max_error);
    errors.set_snr_db(summary.errors->snr_db);
  }
  if (summary.calibration.has_value()) {
    proto.mutable_calibration()->set_counted(summary.calibration->counted);
    proto.mutable_calibration()->set_contributions(summary.calibration->contributions);
  }
}

grpc::Slice ToSlice(const OutputPiece& piece, bool copied) {
  if (copied) return {piece.bytes.data(), piece.bytes.size()};
  auto owner = std::make_unique<std::shared_ptr<const void>>(piece.owner);
  const auto release = [](void* held) { delete static_cast<std::shared_ptr<const void>*>(held); };
  // gRPC only reads it; its type has no const.
  return {const_cast<std::byte*>(piece.bytes.data()), piece.bytes.size(), release, owner.release()};
}

}  // namespace

absl::StatusOr<RequestFrame> ToRequestFrame(const grpc::ByteBuffer& buffer) {
  QUANTD_ASSIGN_OR_RETURN(auto parsed, wire::ReceivedFrame::Parse(buffer));
  wire::FieldsMemory memory;
  auto& fields = memory.Make<v1::QuantizeRequest>();
  if (!fields.ParseFromString(parsed.fields())) {
    return InvalidArgument(reason::kMalformedFrame,
                           "a frame is no quantd.v1 request. Check that client and server use the same .proto files.");
  }
  if (fields.pieces_size() > static_cast<int>(wire::kFramePiecesMax)) {
    return InvalidArgument(reason::kFrameTooLarge, "a frame has " + std::to_string(fields.pieces_size()) +
                                                       " pieces; send at most " +
                                                       std::to_string(wire::kFramePiecesMax) + ".");
  }
  RequestFrame frame;
  frame.tensor_seq = fields.tensor_seq();
  if (fields.has_header()) frame.header = ToTensorRequest(fields.header());
  for (const v1::Piece& piece : fields.pieces()) {
    InputPiece& input =
        frame.pieces.emplace_back(InputPiece{piece.segment(), piece.offset(), piece.length(), std::nullopt});
    if (piece.has_crc32c()) input.crc32c = piece.crc32c();
  }
  frame.last = fields.last();
  auto owner = std::make_shared<wire::ReceivedFrame>(std::move(parsed));
  frame.data.assign(owner->data().begin(), owner->data().end());
  frame.data_bytes = owner->data_bytes();
  frame.owner = std::move(owner);
  return frame;
}

grpc::ByteBuffer ToByteBuffer(const ResponseFrame& frame, const AcceptConstants& constants) {
  wire::FieldsMemory memory;
  auto& fields = memory.Make<v1::QuantizeResponse>();
  fields.set_tensor_seq(frame.tensor_seq);
  fields.set_consumed_bytes(frame.consumed_bytes);
  if (!frame.error.ok()) *fields.mutable_error() = ToRpcStatus(frame.error);
  if (frame.summary.has_value()) Fill(*frame.summary, *fields.mutable_summary());
  std::vector<grpc::Slice> payload;
  for (const OutputPiece& piece : frame.pieces) {
    v1::Piece& proto = *fields.add_pieces();
    proto.set_segment(piece.segment);
    proto.set_offset(piece.offset);
    proto.set_length(static_cast<uint32_t>(piece.bytes.size()));
    if (piece.crc32c.has_value()) proto.set_crc32c(*piece.crc32c);
    payload.push_back(ToSlice(piece, frame.data_bytes <= kCopiedDataBytesMax));
  }
  return wire::JoinFrame(fields, payload, AcceptField(frame, constants));
}

v1::Scheme ToProto(const SchemeRequest& scheme) {
  v1::Scheme proto;
  proto.set_preset(scheme.preset);
  proto.mutable_overrides()->insert(scheme.overrides.begin(), scheme.overrides.end());
  proto.set_format_revision(scheme.format_revision);
  return proto;
}

}  // namespace quantd::server
