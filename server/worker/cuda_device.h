// The GPU that this process sees, as the worker's device.
#pragma once

#include <memory>

#include "server/worker/worker_device.h"

namespace quantd::server {

std::unique_ptr<WorkerDevice> MakeCudaDevice();

}  // namespace quantd::server
