// What a stream and the server may hold at once. Everything that can grow is bounded here.
#pragma once

#include <cstdint>

#include "absl/time/time.h"

namespace quantd::server {

struct Limits {
  uint64_t slot_bytes = 4u << 20;           // 1 MiB to 64 MiB, a multiple of 4 KiB
  uint32_t slots_max = 24;                  // at least 2; slot_bytes · slots_max is the memory bound of the data plane
  uint32_t slots_per_stream_max = 4;        // 2 to slots_max
  uint64_t window_bytes = 8u << 20;         // credit of one tensor; at least the initial window
  uint32_t response_data_bytes = 1u << 20;  // data of one response frame, at most wire::kFrameDataBytesMax
  uint64_t spool_bytes_max = 4ull << 30;    // all streams together
  uint64_t spool_bytes_per_stream_max = 1ull << 30;
  uint32_t streams_max = 256;
  uint32_t streams_per_principal_max = 128;
  uint32_t overrides_max = 32;    // of one scheme request
  uint32_t name_bytes_max = 512;  // of a tensor
  absl::Duration stall_max =
      absl::Seconds(60);  // without progress, on either side, inside a tensor or with results unread
};

}  // namespace quantd::server
