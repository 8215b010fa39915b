// The whole of a worker process but its device.
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "server/worker/message_socket.h"
#include "server/worker/worker_device.h"

namespace quantd::server {

// Serves the process at the other end of the socket until that says Shutdown or is gone: OK. Checks the device's known
// answers before it says Ready. The error is why the device could not be opened, or what was wrong with a message; the
// other end knows it too, or finds the socket closed. A run that the device has no memory for is tried once more after
// a trim.
absl::Status ServeDevice(const MessageSocket& socket, std::unique_ptr<WorkerDevice> device);

}  // namespace quantd::server
