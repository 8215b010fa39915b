// The whole server put together: everything of quantd but flags and signals. quantd runs it, quantctl embeds it.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "kernels/backend/backend.h"
#include "kernels/base/clock.h"
#include "server/config/server_config.h"
#include "server/lifecycle/device_health.h"
#include "server/lifecycle/memory_tuning.h"
#include "server/lifecycle/server.h"
#include "server/rpc/quantization_service.h"
#include "server/telemetry/logged_rpcs.h"
#include "server/telemetry/logger.h"

namespace quantd::server {

class Application {
 public:
  // Checks the configuration and the kernels' known answers, then serves. To embed, leave `config.listen` empty and use
  // InProcessChannel. Errors: those of Validate, MakeCpuBackend, SelfTest, MakeGpuPool,
  // QuantizationService::Create and Server::Start. `logger` must outlive the result.
  static absl::StatusOr<std::unique_ptr<Application>> Start(const ServerConfig& config, Logger& logger);

  Server& server() { return *server_; }

 private:
  Application(std::unique_ptr<Backend> backend, Logger& logger);

  // Each outlives what is declared after it.
  const RealClock clock_;
  LoggedRpcs rpc_log_;
  const std::unique_ptr<Backend> backend_;
  DeviceHealth device_health_;
  std::unique_ptr<QuantizationService> service_;
  std::unique_ptr<IdleTrimmer> trimmer_;
  std::unique_ptr<Server> server_;
};

}  // namespace quantd::server
