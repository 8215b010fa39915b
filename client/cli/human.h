// Numbers and shapes for people.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "absl/time/time.h"

namespace quantd::cli {

// "512 B", "1.50 MiB".
std::string HumanBytes(uint64_t bytes);

// bytes / seconds in 10^9, as "1.23"; "-" for no time.
std::string HumanGigabytesPerSecond(uint64_t bytes, absl::Duration time);

// "384x1536"; "scalar" for none.
std::string HumanShape(std::span<const uint64_t> shape);

// A few significant digits, "inf" and "-inf" as words.
std::string HumanNumber(double value);

}  // namespace quantd::cli
