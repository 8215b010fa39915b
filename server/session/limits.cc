#include "server/session/limits.h"

#include <string>

#include "proto/codec/frame_codec.h"

namespace quantd::server {
namespace {

absl::Status InRange(const char* name, uint64_t value, uint64_t min, uint64_t max) {
  if (value >= min && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(std::string(name) + " is " + std::to_string(value) + "; choose " +
                                    std::to_string(min) + " to " + std::to_string(max) + ".");
}

}  // namespace

absl::Status Validate(const Limits& limits) {
  const absl::Status checks[] = {
      InRange("slot_bytes", limits.slot_bytes, kSlotBytesMin, kSlotBytesMax),
      InRange("slots_max", limits.slots_max, 2, 4096),
      InRange("slots_per_stream_max", limits.slots_per_stream_max, 2, limits.slots_max),
      InRange("window_bytes", limits.window_bytes, limits.slot_bytes, kWindowBytesMax),
      InRange("windows_bytes_max", limits.windows_bytes_max, 1 << 20, kWindowsBytesMax),
      InRange("response_data_bytes", limits.response_data_bytes, 4 << 10, wire::kFrameDataBytesMax),
      InRange("spool_bytes_max", limits.spool_bytes_max, 0, kSpoolBytesMax),
      InRange("spool_bytes_per_stream_max", limits.spool_bytes_per_stream_max, 0, limits.spool_bytes_max),
      InRange("streams_max", limits.streams_max, 1, 65536),
      InRange("streams_per_principal_max", limits.streams_per_principal_max, 1, limits.streams_max),
      InRange("overrides_max", limits.overrides_max, 1, 1024),
      InRange("name_bytes_max", limits.name_bytes_max, 1, 4096),
  };
  for (const absl::Status& check : checks) {
    if (!check.ok()) return check;
  }
  if (limits.slot_bytes % kSlotBytesMultiple != 0) {
    return absl::InvalidArgumentError("slot_bytes is no multiple of " + std::to_string(kSlotBytesMultiple) + ".");
  }
  if (limits.stall_max < absl::Milliseconds(10) || limits.stall_max > absl::Hours(24)) {
    return absl::InvalidArgumentError("stall_max is " + absl::FormatDuration(limits.stall_max) +
                                      "; choose 10ms to 24h.");
  }
  return absl::OkStatus();
}

}  // namespace quantd::server
