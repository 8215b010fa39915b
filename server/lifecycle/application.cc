#include "server/lifecycle/application.h"

#include <string>
#include <utility>

#include "kernels/base/status_macros.h"
#include "kernels/cpu/cpu_backend.h"
#include "server/config/version.h"
#include "server/lifecycle/gpu_setup.h"
#include "server/lifecycle/process_identity.h"
#include "server/session/device_pool.h"
#include "server/session/slot_arena.h"
#include "server/worker/gpu_discovery.h"

namespace quantd::server {
namespace {

ServiceOptions OptionsFor(const ServerConfig& config) {
  const ProcessIdentity identity = MakeProcessIdentity();
  ServiceOptions options;
  options.version = kVersion;
  options.server_instance = identity.server_instance;
  options.epoch = identity.epoch;
  options.compute_threads = ComputeThreads(config);
  options.spool_directory = config.spool_directory;
  options.limits = EffectiveLimits(config);
  for (const PrincipalConfig& principal : config.principals)
    options.principal_weights[principal.name] = principal.weight;
  options.calibration_limits = config.calibration;
  return options;
}

}  // namespace

Application::Application(std::unique_ptr<Backend> backend, Logger& logger)
    : rpc_log_(logger), backend_(std::move(backend)) {}

absl::StatusOr<std::unique_ptr<Application>> Application::Start(const ServerConfig& config, Logger& logger) {
  QUANTD_RETURN_IF_ERROR(Validate(config));
  QUANTD_ASSIGN_OR_RETURN(std::unique_ptr<Backend> backend, MakeCpuBackend(config.cpu_target));
  std::unique_ptr<Application> application(new Application(std::move(backend), logger));
  QUANTD_RETURN_IF_ERROR(SelfTest(*application->backend_));
  ServiceOptions options = OptionsFor(config);
  options.make_devices = [&config, &clock = application->clock_, &logger,
                          &health = application->device_health_](const SlotArena& arena) {
    const auto gpus =
        config.gpu.mode == GpuMode::kOff ? std::vector<std::string>() : VisibleGpus(config.gpu.visible_devices);
    return MakeGpuPool(config.gpu, gpus, arena, clock, logger, health);
  };
  QUANTD_ASSIGN_OR_RETURN(
      application->service_,
      QuantizationService::Create(options, *application->backend_, application->clock_, application->rpc_log_));
  QuantizationService& service = *application->service_;
  application->trimmer_ = std::make_unique<IdleTrimmer>([&service] { return service.open_streams(); });
  QUANTD_ASSIGN_OR_RETURN(application->server_, Server::Start(config, service, logger, application->device_health_));
  return application;
}

}  // namespace quantd::server
