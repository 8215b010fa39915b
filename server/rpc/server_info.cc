#include "server/rpc/server_info.h"

#include <array>
#include <string>

#include "kernels/scheme/plan.h"
#include "kernels/scheme/scheme.h"
#include "proto/codec/frame_codec.h"
#include "server/rpc/proto_convert.h"
#include "server/session/device_pool.h"

namespace quantd::server {
namespace {

v1::SchemeDescription Describe(const PresetInfo& preset) {
  v1::SchemeDescription description;
  const auto scheme = ResolveScheme({.preset = preset.name});
  if (!scheme.ok()) return description;
  *description.mutable_scheme() = ToProto(FullyResolved(*scheme));
  description.set_summary(preset.summary);
  description.set_byte_equal_to(preset.byte_equal_to);
  description.set_bits_per_weight(BitsPerElement(*scheme));
  for (const OverrideInfo& info : preset.overrides) {
    v1::OverrideDescription& override_description = *description.add_overrides();
    override_description.set_name(info.name);
    for (const std::string& value : info.values) override_description.add_values(value);
    override_description.set_default_value(info.default_value);
  }
  description.set_error_bound(preset.error_bound);
  for (const std::string& constraint : preset.constraints) description.add_constraints(constraint);
  constexpr std::array<uint64_t, 2> kShapeForEveryPreset = {128, 256};
  const auto plan = MakePlan(*scheme, Direction::kQuantize, DataType::kFloat32, kShapeForEveryPreset);
  if (plan.ok()) {
    for (const SegmentLayout& segment : plan->WireOutputs()) description.add_segments(segment.name);
  }
  for (const DataTypeInfo& type : kDataTypes) {
    if (type.is_float) description.add_dtypes(static_cast<v1::DataType>(type.type));
  }
  return description;
}

}  // namespace

v1::ListSchemesResponse DescribeSchemes() {
  v1::ListSchemesResponse response;
  for (const PresetInfo& preset : AllPresets()) *response.add_schemes() = Describe(preset);
  return response;
}

v1::GetServerInfoResponse DescribeServer(const ServiceOptions& options, const Backend& backend,
                                         const DevicePool* devices, const Principal& caller, uint64_t parked_bytes) {
  v1::GetServerInfoResponse response;
  response.set_version(options.version);
  response.set_server_instance(options.server_instance);
  response.set_epoch(options.epoch);
  response.add_devices(std::string(backend.name()));
  for (const DeviceInfo& info : devices == nullptr ? std::vector<DeviceInfo>() : devices->Describe()) {
    if (response.gpus_size() == 0) response.add_devices("gpu");
    v1::Gpu& gpu = *response.add_gpus();
    gpu.set_name(info.name);
    gpu.set_target(info.target);
    gpu.set_state(info.state);
    gpu.set_batches(info.batches);
    gpu.set_value_bytes(info.value_bytes);
    gpu.set_losses(info.losses);
    gpu.set_replays(info.replays);
  }
  response.set_cpu_target(std::string(backend.target()));
  response.set_principal(caller.name);
  response.set_parked_bytes(parked_bytes);
  v1::Limits& limits = *response.mutable_limits();
  limits.set_frame_data_bytes_max(wire::kFrameDataBytesMax);
  limits.set_initial_window_bytes(kInitialWindowBytes);
  limits.set_window_bytes(options.limits.window_bytes);
  limits.set_tensor_bytes_max(kTensorBytesMax);
  limits.set_spool_bytes_per_stream_max(options.limits.spool_bytes_per_stream_max);
  limits.set_streams_max(options.limits.streams_max);
  limits.set_streams_per_principal_max(options.limits.streams_per_principal_max);
  limits.set_calibration_session_bytes_max(options.calibration_limits.session_bytes_max);
  limits.set_calibration_bytes_max(options.calibration_limits.bytes_max);
  limits.set_parked_bytes_max(options.limits.parked_bytes_max);
  limits.set_park_ms_max(absl::ToInt64Milliseconds(options.limits.park_time_max));
  limits.set_stall_ms_max(absl::ToInt64Milliseconds(options.limits.stall_max));
  return response;
}

}  // namespace quantd::server
