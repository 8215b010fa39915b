#include "server/lifecycle/device_health.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "server/worker/gpu_worker.h"

namespace quantd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

class DeviceHealthTest : public ::testing::Test {
 protected:
  void Listen() {
    health_.Listen([this](const std::string& service, bool serving) { heard_.emplace_back(service, serving); });
  }

  DeviceHealth health_;
  std::vector<std::pair<std::string, bool>> heard_;
};

TEST_F(DeviceHealthTest, OneGpuIsLostAndTheOtherServesOn) {
  Listen();
  health_.Set("GPU-1", WorkerState::kServing);
  health_.Set("GPU-2", WorkerState::kServing);
  health_.Set("GPU-1", WorkerState::kLost);
  EXPECT_THAT(heard_, ElementsAre(Pair("quantd.gpu.GPU-1", true), Pair("quantd.gpu.GPU-2", true),
                                  Pair("quantd.gpu.GPU-1", false)));
}

TEST_F(DeviceHealthTest, AWorkerWithoutWorkIsHealthyAndOneThatStartsIsNotYet) {
  Listen();
  for (const WorkerState state : {WorkerState::kStarting, WorkerState::kServing, WorkerState::kDraining,
                                  WorkerState::kIdle, WorkerState::kStarting, WorkerState::kQuarantined}) {
    health_.Set("GPU-1", state);
  }
  std::vector<bool> serving;
  for (const auto& [service, serves] : heard_) serving.push_back(serves);
  EXPECT_THAT(serving, ElementsAre(false, true, true, true, false, false));
}

TEST_F(DeviceHealthTest, WhoListensLaterHearsHowItIs) {
  health_.Set("GPU-1", WorkerState::kStarting);
  health_.Set("GPU-1", WorkerState::kServing);
  Listen();
  EXPECT_THAT(heard_, ElementsAre(Pair("quantd.gpu.GPU-1", true)));
}

TEST_F(DeviceHealthTest, WhoListensNoMoreHearsNothing) {
  Listen();
  health_.Listen(nullptr);
  health_.Set("GPU-1", WorkerState::kServing);
  EXPECT_THAT(heard_, IsEmpty());
}

}  // namespace
}  // namespace quantd::server
