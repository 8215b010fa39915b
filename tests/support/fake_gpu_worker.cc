// quantd-gpu-worker with a CPU in place of the GPU: fake_gpu_worker [FAULT]. A fault that is "exit" ends it at once.
#include <iostream>
#include <string_view>

#include "server/worker/child_process.h"
#include "server/worker/worker_loop.h"
#include "tests/support/fake_device.h"

int main(int argc, char** argv) {
  const std::string_view fault = argc > 1 ? argv[1] : "none";
  if (fault == "exit") return 3;
  const auto plan = quantd::testing::ParseFault(fault);
  if (!plan.ok()) {
    std::cerr << plan.status() << '\n';
    return 2;
  }
  const quantd::server::MessageSocket socket(quantd::server::FileDescriptor(quantd::server::kChildSocket));
  return quantd::server::ServeDevice(socket, quantd::testing::MakeFakeDevice(*plan)).ok() ? 0 : 1;
}
