// What the values of enumerated settings are called, in the file and on the command line.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "server/config/server_config.h"

namespace quantd::server {

inline constexpr std::pair<std::string_view, LogLevel> kLogLevelNames[] = {{"debug", LogLevel::kDebug},
                                                                           {"info", LogLevel::kInfo},
                                                                           {"warning", LogLevel::kWarning},
                                                                           {"error", LogLevel::kError}};
inline constexpr std::pair<std::string_view, LogFormat> kLogFormatNames[] = {{"text", LogFormat::kText},
                                                                             {"json", LogFormat::kJson}};
inline constexpr std::pair<std::string_view, GpuMode> kGpuModeNames[] = {
    {"auto", GpuMode::kAuto}, {"off", GpuMode::kOff}, {"required", GpuMode::kRequired}};

// The value of that name; INVALID_ARGUMENT naming `field` and every name that is allowed.
template <typename Value, size_t kCount>
absl::StatusOr<Value> ValueNamed(std::string_view field, std::string_view name,
                                 const std::pair<std::string_view, Value> (&names)[kCount]) {
  std::string allowed;
  for (const auto& [candidate, value] : names) {
    if (candidate == name) return value;
    allowed += (allowed.empty() ? "" : ", ") + std::string(candidate);
  }
  return absl::InvalidArgumentError(std::string(field) + " is \"" + std::string(name) + "\"; choose one of " + allowed);
}

template <typename Value, size_t kCount>
std::string NameOf(Value wanted, const std::pair<std::string_view, Value> (&names)[kCount]) {
  for (const auto& [name, value] : names) {
    if (value == wanted) return std::string(name);
  }
  return std::string();
}

}  // namespace quantd::server
