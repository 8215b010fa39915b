// Health of each GPU, from its worker to the health service.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace quantd::server {

enum class WorkerState : uint8_t;

// What the health service calls a GPU: this and its name.
inline constexpr std::string_view kGpuHealthPrefix = "quantd.gpu.";

// A GPU is healthy while its worker serves, or has ended for want of work and starts with the next. Workers are there
// before the server that answers for them, and after it. Safe from any thread.
class DeviceHealth {
 public:
  // Must not call back, nor wait for anybody who calls this.
  using Listener = std::function<void(const std::string& service, bool serving)>;

  void Set(const std::string& device, WorkerState state);
  // Hears of every GPU now, and of each change from now on; null: nobody does.
  void Listen(Listener listener);

 private:
  absl::Mutex mutex_;
  std::map<std::string, bool> serving_ ABSL_GUARDED_BY(mutex_);  // by service name
  Listener listener_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace quantd::server
