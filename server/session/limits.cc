#include "server/session/limits.h"

#include <algorithm>
#include <string>

#include "proto/codec/frame_codec.h"

namespace quantd::server {
namespace {

absl::Status InRange(const char* name, uint64_t value, uint64_t min, uint64_t max) {
  if (value >= min && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(std::string(name) + " is " + std::to_string(value) + "; choose " +
                                    std::to_string(min) + " to " + std::to_string(max) + ".");
}

absl::Status InRange(const char* name, absl::Duration value) {
  if (value >= absl::Milliseconds(10) && value <= absl::Hours(24)) return absl::OkStatus();
  return absl::InvalidArgumentError(std::string(name) + " is " + absl::FormatDuration(value) + "; choose 10ms to 24h.");
}

// Rounded up.
uint64_t ThreeQuarters(uint64_t whole) { return whole - whole / 4; }

}  // namespace

uint32_t SlotsPerPrincipalMax(const Limits& limits) {
  if (limits.slots_per_principal_max == 0) return static_cast<uint32_t>(ThreeQuarters(limits.slots_max));
  return std::min(limits.slots_per_principal_max, limits.slots_max);
}

uint64_t LoadBytesPerPrincipalMax(const Limits& limits) {
  if (limits.load_bytes_per_principal_max == 0) return ThreeQuarters(limits.load_bytes_max);
  return std::min(limits.load_bytes_per_principal_max, limits.load_bytes_max);
}

uint64_t ParkedBytesPerPrincipalMax(const Limits& limits) {
  if (limits.parked_bytes_per_principal_max == 0) return ThreeQuarters(limits.parked_bytes_max);
  return std::min(limits.parked_bytes_per_principal_max, limits.parked_bytes_max);
}

absl::Status Validate(const Limits& limits) {
  const absl::Status checks[] = {
      InRange("slot_bytes", limits.slot_bytes, kSlotBytesMin, kSlotBytesMax),
      InRange("slots_max", limits.slots_max, 2, 4096),
      InRange("slots_per_stream_max", limits.slots_per_stream_max, 2, limits.slots_max),
      InRange("slots_per_principal_max", limits.slots_per_principal_max, 0, 4096),
      InRange("slot_wait_max", limits.slot_wait_max),
      InRange("window_bytes", limits.window_bytes, limits.slot_bytes, kWindowBytesMax),
      InRange("windows_bytes_max", limits.windows_bytes_max, 1 << 20, kWindowsBytesMax),
      InRange("response_data_bytes", limits.response_data_bytes, 4 << 10, wire::kFrameDataBytesMax),
      InRange("spool_bytes_max", limits.spool_bytes_max, 0, kSpoolBytesMax),
      InRange("spool_bytes_per_stream_max", limits.spool_bytes_per_stream_max, 0, limits.spool_bytes_max),
      InRange("parked_bytes_max", limits.parked_bytes_max, 0, kSpoolBytesMax),
      InRange("parked_bytes_per_principal_max", limits.parked_bytes_per_principal_max, 0, kSpoolBytesMax),
      InRange("park_time_max", limits.park_time_max),
      InRange("streams_max", limits.streams_max, 1, 65536),
      InRange("streams_per_principal_max", limits.streams_per_principal_max, 1, limits.streams_max),
      InRange("load_bytes_max", limits.load_bytes_max, 1 << 20, kLoadBytesMax),
      InRange("load_bytes_per_principal_max", limits.load_bytes_per_principal_max, 0, kLoadBytesMax),
      InRange("overrides_max", limits.overrides_max, 1, 1024),
      InRange("name_bytes_max", limits.name_bytes_max, 1, 4096),
      InRange("stall_max", limits.stall_max),
  };
  for (const absl::Status& check : checks) {
    if (!check.ok()) return check;
  }
  if (limits.slot_bytes % kSlotBytesMultiple != 0) {
    return absl::InvalidArgumentError("slot_bytes is no multiple of " + std::to_string(kSlotBytesMultiple) + ".");
  }
  return absl::OkStatus();
}

}  // namespace quantd::server
