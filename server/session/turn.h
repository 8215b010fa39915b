// Whose turn a piece of work takes.
#pragma once

#include <cstdint>

#include "server/session/principal.h"

namespace quantd::server {

// Order among the work of one principal that waits.
enum class Priority : uint8_t { kLow, kNormal, kHigh };

struct Turn {
  Principal principal;
  Priority priority = Priority::kNormal;
  uint64_t bytes = 1;  // what it costs
};

}  // namespace quantd::server
