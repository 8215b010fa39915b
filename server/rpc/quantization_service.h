// The gRPC face of the data plane: converts, delegates to sessions, converts back.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/backend/backend.h"
#include "kernels/base/clock.h"
#include "server/calibration/calibration_limits.h"
#include "server/session/limits.h"
#include "server/telemetry/rpc_log.h"

namespace grpc {
class Service;
}

namespace quantd::server {

class DevicePool;
class SlotArena;

struct ServiceOptions {
  std::string version;          // "0.1.0"
  std::string server_instance;  // random name of this process
  uint64_t epoch = 0;           // start time, Unix nanoseconds
  uint32_t compute_threads = 1;
  std::string spool_directory = "/tmp";  // for unnamed temporary files
  Limits limits;
  CalibrationLimits calibration_limits;
  std::map<std::string, uint32_t> principal_weights;  // by name, 1 to kPrincipalWeightMax; others have 1
  // Makes the devices beside the CPU, which work in the arena's slots; called once, in Create. Empty, or a null
  // result: there are none.
  std::function<absl::StatusOr<std::unique_ptr<DevicePool>>(const SlotArena& arena)> make_devices;
};

// Owns the slots, the spool budget, the calibration sessions and the compute threads. Must outlive the grpc::Server
// that it is registered with, and every byte that server still holds: destroy the grpc::Server first.
class QuantizationService {
 public:
  // RESOURCE_EXHAUSTED if the slots' memory cannot be had; INVALID_ARGUMENT for limits out of range; what make_devices
  // returns. `backend`, `clock` and `log` must outlive the result.
  static absl::StatusOr<std::unique_ptr<QuantizationService>> Create(const ServiceOptions& options, Backend& backend,
                                                                     const Clock& clock, RpcLog& log);
  virtual ~QuantizationService() = default;

  // To register with a ServerBuilder; owned by this object.
  virtual grpc::Service* service() = 0;

  // From now on: tensors that are in the middle go on, new tensors and streams are refused with UNAVAILABLE, reason
  // SERVER_DRAINING, and streams end when their last tensor has. Safe from any thread, idempotent.
  virtual void BeginDrain() = 0;

  // Tensors in the middle fail with UNAVAILABLE, reason SERVER_DRAINING, and where to go on with them; streams end.
  // After BeginDrain. Safe from any thread.
  virtual void HandBack() = 0;

  // Bulk streams that are open now.
  virtual uint32_t open_streams() const = 0;
};

}  // namespace quantd::server
