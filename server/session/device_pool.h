// Devices beside the CPU, as sessions see them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/session/frame.h"
#include "server/session/run.h"
#include "server/session/turn.h"

namespace quantd::server {

// A run that is to be computed, once, wherever.
struct ComputeTask {
  std::shared_ptr<Run> run;
  Turn turn;
  DevicePolicy policy{};
  std::function<void()> done;            // after it has been computed, or has failed
  std::function<void()> compute_on_cpu;  // queues it for the CPU's threads, which call `done` in the end
};

struct DeviceInfo {
  std::string name;    // a UUID
  std::string target;  // "sm_90"; empty until it was ready once
  std::string state;   // "serving"
  // Since the start.
  uint64_t batches = 0;      // computed
  uint64_t value_bytes = 0;  // of those
  uint64_t losses = 0;       // of its worker
  uint64_t replays = 0;      // batches that were computed again elsewhere
};

// Safe from any thread.
class DevicePool {
 public:
  virtual ~DevicePool() = default;

  // FAILED_PRECONDITION with reason NO_GPU if a tensor that must be computed here cannot be, now or soon.
  virtual absl::Status CheckUsable() const = 0;

  // False: the run is for the CPU, and nothing has been done. True: it will be computed on a thread of the pool's, or
  // by compute_on_cpu if its device fails; its memory is the device's until `done`. Calls neither function itself.
  virtual bool TryCompute(const ComputeTask& task) = 0;

  virtual std::vector<DeviceInfo> Describe() const = 0;
};

}  // namespace quantd::server
