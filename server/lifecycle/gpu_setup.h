// The GPUs of a server, as its configuration wants them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/base/clock.h"
#include "server/config/server_config.h"
#include "server/lifecycle/device_health.h"
#include "server/session/device_pool.h"
#include "server/session/slot_arena.h"
#include "server/telemetry/logger.h"

namespace quantd::server {

// What computes on a GPU: the configured program, else quantd-gpu-worker beside this one.
std::string WorkerPath(const GpuConfig& config);

// A worker for each of `gpus` (server/worker/gpu_discovery.h), which work in the arena's slots; null if there is none
// to be had and the mode is "auto", or if it is "off". Does not wait for them unless the mode is "required":
// FAILED_PRECONDITION if there is no GPU or no program, UNAVAILABLE if none is ready in time. `health` hears of every
// worker's state. Everything must outlive the result.
absl::StatusOr<std::unique_ptr<DevicePool>> MakeGpuPool(const GpuConfig& config, const std::vector<std::string>& gpus,
                                                        const SlotArena& arena, const Clock& clock, Logger& logger,
                                                        DeviceHealth& health);

}  // namespace quantd::server
