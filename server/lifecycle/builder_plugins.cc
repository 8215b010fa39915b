#include "server/lifecycle/builder_plugins.h"

#include <grpcpp/ext/channelz_service_plugin.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/impl/server_builder_option.h>

#include <memory>
#include <vector>

namespace quantd::server {
namespace {

class KeepOwnServices final : public grpc::ServerBuilderOption {
 public:
  explicit KeepOwnServices(OwnServices services) : services_(services) {}

  void UpdateArguments(grpc::ChannelArguments*) override {}

  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    std::erase_if(*plugins,
                  [&](const auto& plugin) { return !(services_.channelz && plugin->name() == "channelz_service"); });
    if (services_.reflection) plugins->push_back(std::make_unique<grpc::reflection::ProtoServerReflectionPlugin>());
  }

 private:
  const OwnServices services_;
};

}  // namespace

void SetOwnServices(grpc::ServerBuilder& builder, OwnServices services) {
  builder.SetOption(std::make_unique<KeepOwnServices>(services));
}

void EnableChannelz() { grpc::channelz::experimental::InitChannelzService(); }

void EnableHealth() {
  static const bool enabled = [] {
    grpc::EnableDefaultHealthCheckService(true);
    return true;
  }();
  static_cast<void>(enabled);
}

}  // namespace quantd::server
