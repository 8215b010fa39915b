#include "client/cpp/wire_convert.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace quantd {
namespace {

v1::DevicePolicy ToWire(DevicePreference device) {
  switch (device) {
    case DevicePreference::kAuto:
      return v1::DEVICE_POLICY_AUTO;
    case DevicePreference::kCpu:
      return v1::DEVICE_POLICY_CPU;
    case DevicePreference::kGpu:
      return v1::DEVICE_POLICY_GPU;
  }
  return v1::DEVICE_POLICY_UNSPECIFIED;
}

v1::Priority ToWire(CallPriority priority) {
  switch (priority) {
    case CallPriority::kLow:
      return v1::PRIORITY_LOW;
    case CallPriority::kNormal:
      return v1::PRIORITY_NORMAL;
    case CallPriority::kHigh:
      return v1::PRIORITY_HIGH;
  }
  return v1::PRIORITY_UNSPECIFIED;
}

}  // namespace

SchemeRequest FromWire(const v1::Scheme& scheme) {
  return {scheme.preset(), {scheme.overrides().begin(), scheme.overrides().end()}, scheme.format_revision()};
}

ErrorMetrics FromWire(const v1::ErrorMetrics& errors) {
  return {errors.count(), errors.mean_squared_error(), errors.max_error(), errors.snr_db()};
}

Summary FromWire(const v1::Summary& summary) {
  const v1::PhaseTimes& times = summary.times();
  return {.amax = summary.amax(),
          .lowest = summary.has_lowest() ? std::optional(summary.lowest()) : std::nullopt,
          .highest = summary.has_highest() ? std::optional(summary.highest()) : std::nullopt,
          .nonfinite_count = summary.nonfinite_count(),
          .errors = summary.has_errors() ? std::optional(FromWire(summary.errors())) : std::nullopt,
          .counted = summary.has_calibration() ? std::optional(summary.calibration().counted()) : std::nullopt,
          .contributions = summary.calibration().contributions(),
          .receive_time = absl::Nanoseconds(times.receive_ns()),
          .queue_time = absl::Nanoseconds(times.queue_ns()),
          .compute_time = absl::Nanoseconds(times.compute_ns()),
          .total_time = absl::Nanoseconds(times.total_ns()),
          .device = summary.device()};
}

ServerInfo FromWire(const v1::GetServerInfoResponse& info) {
  const v1::Limits& limits = info.limits();
  std::vector<GpuInfo> gpus;
  for (const v1::Gpu& gpu : info.gpus()) {
    gpus.push_back(
        {gpu.name(), gpu.target(), gpu.state(), gpu.batches(), gpu.value_bytes(), gpu.losses(), gpu.replays()});
  }
  return {.version = info.version(),
          .server_instance = info.server_instance(),
          .cpu_target = info.cpu_target(),
          .principal = info.principal(),
          .epoch = info.epoch(),
          .devices = {info.devices().begin(), info.devices().end()},
          .gpus = std::move(gpus),
          .frame_data_bytes_max = limits.frame_data_bytes_max(),
          .initial_window_bytes = limits.initial_window_bytes(),
          .window_bytes = limits.window_bytes(),
          .tensor_bytes_max = limits.tensor_bytes_max(),
          .spool_bytes_per_stream_max = limits.spool_bytes_per_stream_max(),
          .parked_bytes = info.parked_bytes(),
          .parked_bytes_max = limits.parked_bytes_max(),
          .streams_max = limits.streams_max(),
          .streams_per_principal_max = limits.streams_per_principal_max(),
          .stall_max = absl::Milliseconds(limits.stall_ms_max())};
}

SchemeDescription FromWire(const v1::SchemeDescription& description) {
  SchemeDescription result{.scheme = FromWire(description.scheme()),
                           .summary = description.summary(),
                           .byte_equal_to = description.byte_equal_to(),
                           .error_bound = description.error_bound(),
                           .constraints = {description.constraints().begin(), description.constraints().end()},
                           .overrides = {},
                           .segments = {description.segments().begin(), description.segments().end()},
                           .bits_per_weight = description.bits_per_weight()};
  for (const v1::OverrideDescription& wire : description.overrides()) {
    result.overrides.push_back({wire.name(), {wire.values().begin(), wire.values().end()}, wire.default_value()});
  }
  return result;
}

CalibrationState FromWire(const v1::Calibration& calibration) {
  return {.session_id = calibration.session_id(),
          .configuration = {calibration.configuration().begin(), calibration.configuration().end()},
          .expected_contributions = calibration.expected_contributions(),
          .sealed = calibration.sealed(),
          .readable = calibration.readable(),
          .tensor_count = calibration.tensor_count(),
          .contribution_count = calibration.contribution_count(),
          .memory_bytes = calibration.memory_bytes(),
          .expires_in = absl::Milliseconds(calibration.expires_in_ms()),
          .server_instance = calibration.server_instance(),
          .epoch = calibration.epoch()};
}

CalibratedRange FromWire(const v1::CalibratedRange& range) { return {range.lowest(), range.highest()}; }

CalibratedTensor FromWire(const v1::CalibratedTensor& tensor) {
  CalibratedTensor result{.name = tensor.name(),
                          .dtype = static_cast<DataType>(tensor.dtype()),
                          .contributions = tensor.contributions(),
                          .count = tensor.count(),
                          .nonfinite_count = tensor.nonfinite_count(),
                          .min = {tensor.min().begin(), tensor.min().end()},
                          .max = {tensor.max().begin(), tensor.max().end()},
                          .absmax = {tensor.absmax().begin(), tensor.absmax().end()},
                          .ranges = {},
                          .importance = {tensor.importance().begin(), tensor.importance().end()}};
  for (const v1::CalibratedRange& range : tensor.ranges()) result.ranges.push_back(FromWire(range));
  return result;
}

void Fill(const CalibrationContribution& contribution, v1::Contribution& wire) {
  wire.set_session_id(contribution.session_id);
  wire.mutable_configuration()->insert(contribution.configuration.begin(), contribution.configuration.end());
  wire.set_contribution_id(contribution.contribution_id);
  wire.set_expected_contributions(contribution.expected_contributions);
}

void Fill(const CalibrationReference& reference, v1::CalibrationReference& wire) {
  wire.set_session_id(reference.session_id);
  wire.mutable_tensors()->Add(reference.tensors.begin(), reference.tensors.end());
  wire.set_method(reference.method);
  if (reference.percentile.has_value()) wire.set_percentile(*reference.percentile);
}

void Fill(const SmoothingReference& reference, v1::SmoothingSource& wire) {
  wire.set_session_id(reference.session_id);
  wire.set_activations(reference.activations);
  wire.mutable_weights()->Add(reference.weights.begin(), reference.weights.end());
  if (reference.alpha.has_value()) wire.set_alpha(*reference.alpha);
}

void Fill(const ImportanceReference& reference, v1::ImportanceSource& wire) {
  wire.set_session_id(reference.session_id);
  wire.set_activations(reference.activations);
}

void Fill(const CalibrationQuery& query, v1::GetCalibrationRequest& wire) {
  wire.mutable_tensors()->Add(query.tensors.begin(), query.tensors.end());
  wire.set_fused(query.fused);
  wire.set_importance(query.importance);
  if (!query.ranges && !query.fused) return;
  v1::RangeMethod& range = *wire.mutable_range();
  range.set_method(query.method);
  range.set_target(query.target);
  if (query.percentile.has_value()) range.set_percentile(*query.percentile);
  if (query.symmetric.has_value()) range.set_symmetric(*query.symmetric);
}

absl::StatusOr<SegmentView> FromWire(const v1::Segment& segment) {
  const std::optional<DataType> dtype = DataTypeNumbered(segment.dtype());
  if (!dtype.has_value()) {
    return absl::InternalError(absl::StrCat("The server's segment ", segment.name(), " has element type ",
                                            static_cast<int>(segment.dtype()),
                                            ", which this client does not know. Use a newer client."));
  }
  return SegmentView{segment.name(), *dtype, {segment.shape().begin(), segment.shape().end()}, {}};
}

v1::TensorHeader MakeHeader(const std::string& name, DataType dtype, const std::vector<uint64_t>& shape,
                            const SchemeRequest& scheme, const CallOptions& options) {
  v1::TensorHeader header;
  header.set_name(name);
  header.set_dtype(static_cast<v1::DataType>(dtype));
  header.mutable_shape()->Add(shape.begin(), shape.end());
  header.mutable_scheme()->set_preset(scheme.preset);
  header.mutable_scheme()->mutable_overrides()->insert(scheme.overrides.begin(), scheme.overrides.end());
  header.mutable_scheme()->set_format_revision(scheme.format_revision);
  header.set_device_policy(ToWire(options.device));
  header.set_priority(ToWire(options.priority));
  header.set_checksum_kind(options.checksums ? v1::CHECKSUM_KIND_CRC32C : v1::CHECKSUM_KIND_NONE);
  return header;
}

void FillStatistics(const KnownStatistics& known, v1::TensorHeader& header) {
  if (known.offset.has_value()) header.mutable_statistics()->set_offset(*known.offset);
  if (known.amax.has_value()) header.mutable_statistics()->set_amax(*known.amax);
  if (known.min.has_value()) header.mutable_statistics()->set_min(*known.min);
  if (known.max.has_value()) header.mutable_statistics()->set_max(*known.max);
  if (known.global_scale.has_value()) header.mutable_statistics()->set_global_scale(*known.global_scale);
}

}  // namespace quantd
