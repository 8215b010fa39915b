#include "client/cli/human.h"

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace quantd::cli {

std::string HumanBytes(uint64_t bytes) {
  if (bytes < 1024) return absl::StrFormat("%d B", bytes);
  double value = static_cast<double>(bytes);
  const char* const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  size_t unit = 0;
  for (value /= 1024; value >= 1024 && unit + 1 < std::size(units); value /= 1024) ++unit;
  return absl::StrFormat("%.2f %s", value, units[unit]);
}

std::string HumanGigabytesPerSecond(uint64_t bytes, absl::Duration time) {
  const double seconds = absl::ToDoubleSeconds(time);
  return seconds > 0 ? absl::StrFormat("%.2f", static_cast<double>(bytes) / seconds / 1e9) : "-";
}

std::string HumanShape(std::span<const uint64_t> shape) { return shape.empty() ? "scalar" : absl::StrJoin(shape, "x"); }

std::string HumanNumber(double value) { return absl::StrFormat("%.4g", value); }

}  // namespace quantd::cli
