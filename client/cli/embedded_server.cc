#include "client/cli/embedded_server.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "kernels/base/status_macros.h"
#include "server/config/server_config.h"
#include "server/lifecycle/application.h"
#include "server/telemetry/logger.h"

namespace quantd::cli {
namespace {

class ApplicationServer final : public EmbeddedServer {
 public:
  ApplicationServer() : logger_(server::MakeStderrLogger(server::LogLevel::kError, server::LogFormat::kText)) {}

  absl::Status Start(const std::string& cpu_target, Reach reach) {
    server::ServerConfig config;
    config.listen.clear();
    if (reach == Reach::kLoopback) config.listen.emplace_back("127.0.0.1:0");
    config.gpu.mode = server::GpuMode::kOff;  // one command is over before a worker has started
    if (!cpu_target.empty()) config.cpu_target = cpu_target;
    std::error_code no_folder;
    const std::filesystem::path spool = std::filesystem::temp_directory_path(no_folder);
    if (!no_folder) config.spool_directory = spool;
    QUANTD_ASSIGN_OR_RETURN(application_, server::Application::Start(config, *logger_));
    return absl::OkStatus();
  }

  std::shared_ptr<grpc::Channel> channel() override { return application_->server().InProcessChannel(); }
  std::string address() const override {
    const auto& addresses = application_->server().addresses();
    return addresses.empty() ? "" : addresses.front();
  }

 private:
  const std::unique_ptr<server::Logger> logger_;
  std::unique_ptr<server::Application> application_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<EmbeddedServer>> EmbeddedServer::Start(const std::string& cpu_target, Reach reach) {
  auto embedded = std::make_unique<ApplicationServer>();
  QUANTD_RETURN_IF_ERROR(embedded->Start(cpu_target, reach));
  return embedded;
}

}  // namespace quantd::cli
