// What a stream and the server may hold at once. Everything that can grow is bounded here.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace quantd::server {

inline constexpr uint64_t kSlotBytesMin = 1 << 20;
inline constexpr uint64_t kSlotBytesMax = 64 << 20;
inline constexpr uint64_t kSlotBytesMultiple = 4 << 10;  // a page
inline constexpr uint64_t kWindowBytesMax = 1 << 30;
inline constexpr uint64_t kWindowsBytesMax = uint64_t{1} << 40;
inline constexpr uint64_t kLoadBytesMax = uint64_t{1} << 50;
inline constexpr uint64_t kSpoolBytesMax = uint64_t{1} << 44;

// Data that a client may send before its Accept: the protocol's constant, and the narrowest window.
inline constexpr uint64_t kInitialWindowBytes = 256 << 10;

struct Limits {
  // kSlotBytesMin to kSlotBytesMax. 6 MiB hold the largest unit of the presets: 4096 · 256 float32 with their codes and
  // scales. Pages that no tensor needs are never touched.
  uint64_t slot_bytes = 6 << 20;
  uint32_t slots_max = 16;               // 2 to 4096; slot_bytes · slots_max bounds the memory of the data plane
  uint32_t slots_per_stream_max = 4;     // 2 to slots_max
  uint32_t slots_per_principal_max = 0;  // of all its streams: 1 to 4096; 0: three quarters of slots_max
  // 10 ms to 24 h for a stream that has no slot and gets none.
  absl::Duration slot_wait_max = absl::Seconds(30);
  uint64_t window_bytes = 8 << 20;  // credit of one tensor: slot_bytes, so that every unit can be sent, to 1 GiB
  uint64_t windows_bytes_max =
      128 << 20;  // credit of all tensors together, beyond which windows are narrow: 1 MiB to 1 TiB
  uint32_t response_data_bytes = 1 << 20;                   // data of one response: 4 KiB to wire::kFrameDataBytesMax
  uint64_t spool_bytes_max = uint64_t{4} << 30;             // all streams together: 0 to 16 TiB
  uint64_t spool_bytes_per_stream_max = uint64_t{1} << 30;  // 0 to spool_bytes_max
  // Spools of broken streams, parked for those that go on with them (upload_store.h); part of spool_bytes_max.
  uint64_t parked_bytes_max = uint64_t{2} << 30;      // 0 to 16 TiB; 0: none
  uint64_t parked_bytes_per_principal_max = 0;        // the same range; 0: three quarters of parked_bytes_max
  absl::Duration park_time_max = absl::Seconds(120);  // 10 ms to 24 h
  uint32_t streams_max = 256;                         // 1 to 65536
  uint32_t streams_per_principal_max = 128;           // 1 to streams_max
  // Input of tensors that were accepted and is not yet consumed, beyond which no tensor is accepted.
  uint64_t load_bytes_max = uint64_t{256} << 30;  // of the server: 1 MiB to 1 PiB
  uint64_t load_bytes_per_principal_max = 0;      // the same range; 0: three quarters of load_bytes_max
  uint32_t overrides_max = 32;                    // of one scheme: 1 to 1024
  uint32_t name_bytes_max = 512;                  // of a tensor: 1 to 4096
  // 10 ms to 24 h without progress, inside a tensor or with results unread.
  absl::Duration stall_max = absl::Seconds(60);
};

// With the default worked out, and never more than the whole.
uint32_t SlotsPerPrincipalMax(const Limits& limits);
uint64_t LoadBytesPerPrincipalMax(const Limits& limits);
uint64_t ParkedBytesPerPrincipalMax(const Limits& limits);

// INVALID_ARGUMENT that names the field and its range.
absl::Status Validate(const Limits& limits);

}  // namespace quantd::server
