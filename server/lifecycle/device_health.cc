#include "server/lifecycle/device_health.h"

#include <utility>

#include "server/worker/gpu_worker.h"

namespace quantd::server {
namespace {

bool IsHealthy(WorkerState state) {
  return state == WorkerState::kServing || state == WorkerState::kDraining || state == WorkerState::kIdle;
}

}  // namespace

void DeviceHealth::Set(const std::string& device, WorkerState state) {
  const std::string service = std::string(kGpuHealthPrefix) + device;
  absl::MutexLock lock(&mutex_);
  serving_[service] = IsHealthy(state);
  if (listener_ != nullptr) listener_(service, IsHealthy(state));
}

void DeviceHealth::Listen(Listener listener) {
  absl::MutexLock lock(&mutex_);
  listener_ = std::move(listener);
  if (listener_ == nullptr) return;
  for (const auto& [service, serving] : serving_) listener_(service, serving);
}

}  // namespace quantd::server
