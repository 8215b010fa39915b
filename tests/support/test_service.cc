#include "tests/support/test_service.h"

#include <stdexcept>
#include <utility>

#include "grpcpp/create_channel.h"
#include "grpcpp/server_builder.h"
#include "kernels/cpu/cpu_backend.h"
#include "server/session/device_pool.h"
#include "server/session/slot_arena.h"

namespace quantd::testing {

void RecordedRpcs::Record(const server::RpcRecord& record) {
  absl::MutexLock lock(&mutex_);
  records_.push_back(record);
}

std::vector<server::RpcRecord> RecordedRpcs::WaitFor(size_t count) {
  absl::MutexLock lock(&mutex_);
  const auto enough = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return records_.size() >= count; };
  mutex_.AwaitWithTimeout(absl::Condition(&enough), absl::Minutes(1));
  return records_;
}

TestService::TestService(TestServiceOptions options) : cpu_backend_(MakeCpuBackend()) {
  Backend& backend = options.backend != nullptr ? *options.backend : *cpu_backend_;
  auto service = server::QuantizationService::Create({.version = "test",
                                                      .server_instance = options.server_instance,
                                                      .epoch = 1,
                                                      .compute_threads = options.compute_threads,
                                                      .spool_directory = options.spool_directory,
                                                      .limits = options.limits,
                                                      .calibration_limits = options.calibration_limits,
                                                      .make_devices = options.make_devices},
                                                     backend, clock_, rpcs_);
  if (!service.ok()) throw std::runtime_error(service.status().ToString());
  service_ = *std::move(service);
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(service_->service());
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) throw std::runtime_error("the test server did not start");
  tcp_address_ = "127.0.0.1:" + std::to_string(port);
}

TestService::~TestService() {
  server_->Shutdown(std::chrono::system_clock::now());
  // All records come before: gRPC sees to that, but only the mutex shows it to ThreadSanitizer.
  rpcs_.WaitFor(0);
}

std::shared_ptr<grpc::Channel> TestService::InProcessChannel() { return server_->InProcessChannel({}); }

std::shared_ptr<grpc::Channel> TestService::TcpChannel() const {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(tcp_address_, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace quantd::testing
