// quantd-gpu-worker: computes on the one GPU that CUDA_VISIBLE_DEVICES names, for the quantd that started it.
// Descriptor 3 is the socket between the two. Not for people. Exit codes: 0 told to end, 1 could not serve or was
// spoken to wrongly.
#include <sys/prctl.h>
#include <sys/socket.h>
#include <csignal>

#include <iostream>

#include "server/worker/child_process.h"
#include "server/worker/cuda_device.h"
#include "server/worker/worker_loop.h"

namespace quantd::server {
namespace {

bool IsSocket(int descriptor) {
  int type = 0;
  socklen_t bytes = sizeof(type);
  return getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &bytes) == 0 && type == SOCK_SEQPACKET;
}

int Run() {
  if (!IsSocket(kChildSocket)) {
    std::cerr << "quantd-gpu-worker is started by quantd, not by hand\n";
    return 1;
  }
  // A hung worker must not outlive a quantd that crashed. The thread that started this process lives as long as quantd.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const absl::Status status = ServeDevice(MessageSocket(FileDescriptor(kChildSocket)), MakeCudaDevice());
  return status.ok() ? 0 : 1;
}

}  // namespace
}  // namespace quantd::server

int main() { return quantd::server::Run(); }
