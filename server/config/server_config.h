// What a server runs with. proto/quantd/config/v1/server_config.proto explains each value: unit, range, default.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/calibration/calibration_limits.h"
#include "server/session/limits.h"

namespace quantd::server {

enum class LogLevel : uint8_t { kDebug, kInfo, kWarning, kError };
enum class LogFormat : uint8_t { kText, kJson };

enum class GpuMode : uint8_t { kAuto, kOff, kRequired };

struct GpuConfig {
  GpuMode mode = GpuMode::kAuto;
  std::string worker_path;  // empty: quantd-gpu-worker beside this program
  uint64_t memory_budget_bytes = uint64_t{2} << 30;
  uint32_t units_in_flight_max = 4;
  uint64_t min_batch_bytes = 512 << 10;
  uint64_t copy_bytes_per_second_max = 0;
  uint32_t duty_percent_max = 100;
  absl::Duration unit_deadline = absl::Seconds(10);
  absl::Duration idle_trim = absl::Seconds(2);
  absl::Duration idle_exit = absl::Minutes(5);
  // From the environment only.
  std::optional<std::string> visible_devices;   // CUDA_VISIBLE_DEVICES; nothing: it is not set
  std::vector<std::string> worker_environment;  // "NAME=value" that workers get besides
};

// A caller with another weight than 1.
struct PrincipalConfig {
  std::string name;
  uint32_t weight = 1;
};

struct ServerConfig {
  std::vector<std::string> listen = {"127.0.0.1:50051"};
  std::string admin_listen;
  std::string unix_mode = "0660";
  std::vector<uint32_t> unix_allowed_uids;
  uint32_t compute_threads = 0;
  std::string cpu_target = "auto";  // or a name of kernels/cpu's; whether the processor has it is found at the start
  std::string spool_directory = "/tmp";
  bool reflection = true;
  uint64_t transport_bytes_max = 2u << 30;
  Limits limits;
  std::vector<PrincipalConfig> principals;
  CalibrationLimits calibration;
  GpuConfig gpu;
  LogLevel log_level = LogLevel::kInfo;
  LogFormat log_format = LogFormat::kText;
  absl::Duration drain_delay = absl::ZeroDuration();
  absl::Duration drain_deadline = absl::Seconds(25);
};

// INVALID_ARGUMENT for the first value out of range: names the field, its value and what is allowed.
// `listen` may be empty: a server inside another program needs no listener.
absl::Status Validate(const ServerConfig& config);

// compute_threads, or the processors that this process may use where that is 0.
uint32_t ComputeThreads(const ServerConfig& config);

// The limits with each 0 worked out for these listeners: over TCP everybody is one principal, who needs to leave
// nothing to others.
Limits EffectiveLimits(const ServerConfig& config);

// The permissions that `unix_mode` spells; the mode must be valid.
uint32_t UnixMode(const ServerConfig& config);

}  // namespace quantd::server
