// A real QuantizationService behind a real gRPC server, for tests that speak the protocol.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/channel.h"
#include "grpcpp/server.h"
#include "kernels/backend/backend.h"
#include "kernels/base/clock.h"
#include "quantd/v1/quantization_service.grpc.pb.h"
#include "server/rpc/quantization_service.h"

namespace quantd::testing {

// Keeps the log lines, and lets a test wait for the end of its RPCs.
class RecordedRpcs final : public server::RpcLog {
 public:
  void Record(const server::RpcRecord& record) override;
  // The records when there are `count` of them; what there is after a minute.
  std::vector<server::RpcRecord> WaitFor(size_t count);

 private:
  absl::Mutex mutex_;
  std::vector<server::RpcRecord> records_ ABSL_GUARDED_BY(mutex_);
};

struct TestServiceOptions {
  server::Limits limits;
  server::CalibrationLimits calibration_limits;
  uint32_t compute_threads = 2;
  std::string server_instance = "test-instance";
  std::string spool_directory = "/tmp";
  Backend* backend = nullptr;  // default: the CPU's
  std::function<absl::StatusOr<std::unique_ptr<server::DevicePool>>(const server::SlotArena&)> make_devices;
};

class TestService {
 public:
  explicit TestService(TestServiceOptions options = {});
  ~TestService();

  // In process, or over TCP on the loopback interface; each call makes a connection of its own.
  std::shared_ptr<grpc::Channel> InProcessChannel();
  std::shared_ptr<grpc::Channel> TcpChannel() const;
  const std::string& tcp_address() const { return tcp_address_; }

  server::QuantizationService& service() { return *service_; }
  RecordedRpcs& rpcs() { return rpcs_; }

 private:
  RealClock clock_;
  RecordedRpcs rpcs_;
  std::unique_ptr<Backend> cpu_backend_;
  std::unique_ptr<server::QuantizationService> service_;
  std::unique_ptr<grpc::Server> server_;
  std::string tcp_address_;
};

}  // namespace quantd::testing
