#include "server/lifecycle/gpu_setup.h"

#include <unistd.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "kernels/base/status_macros.h"
#include "server/worker/gpu_pool.h"

namespace quantd::server {
namespace {

constexpr const char* kWorkerName = "quantd-gpu-worker";

GpuWorkerOptions OptionsFor(const GpuConfig& config, const std::string& gpu, DeviceHealth& health) {
  return {.device = gpu,
          .units_in_flight_max = config.units_in_flight_max,
          .memory_budget_bytes = config.memory_budget_bytes,
          .unit_deadline = config.unit_deadline,
          .idle_trim = config.idle_trim,
          .idle_exit = config.idle_exit,
          .on_state = [&health, gpu](WorkerState state) { health.Set(gpu, state); }};
}

WorkerLauncher LauncherFor(const GpuConfig& config, const std::string& gpu) {
  ChildCommand command{.executable = WorkerPath(config), .environment = config.worker_environment};
  command.environment.push_back("CUDA_VISIBLE_DEVICES=" + gpu);
  return [command = std::move(command)]() mutable -> absl::StatusOr<LaunchedWorker> {
    QUANTD_ASSIGN_OR_RETURN(auto sockets, MessageSocket::MakePair());
    command.socket = sockets.second.get();
    QUANTD_ASSIGN_OR_RETURN(auto process, ChildProcess::Spawn(command));
    return LaunchedWorker{std::move(process), std::move(sockets.first)};
  };
}

absl::Status WhyNone(const GpuConfig& config, const std::vector<std::string>& gpus) {
  if (gpus.empty()) {
    return absl::FailedPreconditionError(
        "gpu.mode is \"required\", and this process sees no GPU. Check nvidia-smi, CUDA_VISIBLE_DEVICES and the "
        "container's devices, or set gpu.mode to \"auto\".");
  }
  const std::string path = WorkerPath(config);
  if (access(path.c_str(), X_OK) == 0) return absl::OkStatus();
  return absl::FailedPreconditionError("there is a GPU, but no program " + path +
                                       " to compute on it. Install it there, or set gpu.worker_path.");
}

}  // namespace

std::string WorkerPath(const GpuConfig& config) {
  if (!config.worker_path.empty()) return config.worker_path;
  std::error_code unknown;
  return (std::filesystem::read_symlink("/proc/self/exe", unknown).parent_path() / kWorkerName).string();
}

absl::StatusOr<std::unique_ptr<DevicePool>> MakeGpuPool(const GpuConfig& config, const std::vector<std::string>& gpus,
                                                        const SlotArena& arena, const Clock& clock, Logger& logger,
                                                        DeviceHealth& health) {
  if (config.mode == GpuMode::kOff) return nullptr;
  if (absl::Status why = WhyNone(config, gpus); !why.ok()) {
    if (config.mode == GpuMode::kRequired) return why;
    if (!gpus.empty()) {
      logger.Write(LogLevel::kWarning, "serving without gpu", {{"why", std::string(why.message())}});
    }
    return nullptr;
  }
  const SharedSlots slots{arena.descriptor(), {arena.memory(), arena.slot_bytes(), arena.slots_max()}};
  std::vector<std::unique_ptr<GpuWorker>> workers;
  workers.reserve(gpus.size());
  for (const std::string& gpu : gpus) {
    workers.push_back(
        std::make_unique<GpuWorker>(OptionsFor(config, gpu, health), LauncherFor(config, gpu), slots, clock, logger));
  }
  const GpuPoolOptions options{.units_in_flight_max = config.units_in_flight_max,
                               .min_batch_bytes = config.min_batch_bytes,
                               .copy_bytes_per_second_max = config.copy_bytes_per_second_max,
                               .duty_percent_max = config.duty_percent_max};
  auto pool = std::make_unique<GpuPool>(options, std::move(workers), clock, logger);
  if (config.mode == GpuMode::kRequired && !pool->AwaitServing(GpuWorkerOptions().start_deadline)) {
    return absl::UnavailableError(
        "gpu.mode is \"required\", and no GPU was ready in time; the log says why. Set gpu.mode to \"auto\" to serve "
        "meanwhile.");
  }
  return pool;
}

}  // namespace quantd::server
