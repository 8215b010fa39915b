#include "server/lifecycle/application.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "kernels/cpu/cpu_backend.h"
#include "tests/server/lifecycle/calls.h"

namespace quantd::server {
namespace {

using ::testing::HasSubstr;

class ApplicationTest : public ::testing::Test {
 protected:
  ApplicationTest() {
    config_.listen.clear();
    config_.compute_threads = 1;
  }

  std::ostringstream log_;
  const std::unique_ptr<Logger> logger_ = MakeStreamLogger(LogLevel::kInfo, LogFormat::kText, log_);
  ServerConfig config_;
};

TEST_F(ApplicationTest, ServesTheProgramThatEmbedsIt) {
  const auto application = Application::Start(config_, *logger_);
  ASSERT_TRUE(application.ok()) << application.status();
  const auto channel = (*application)->server().InProcessChannel();
  EXPECT_EQ(PrincipalOf(channel), "anonymous");
  EXPECT_EQ(Health(channel, ""), "SERVING");
}

TEST_F(ApplicationTest, ComputesOnTheCpuTargetThatItIsTold) {
  for (const std::string& target : CpuTargets()) {
    config_.cpu_target = target;
    const auto application = Application::Start(config_, *logger_);
    ASSERT_TRUE(application.ok()) << application.status();
    v1::GetServerInfoResponse info;
    const grpc::Status status = Call((*application)->server().InProcessChannel(),
                                     "/quantd.v1.QuantizationService/GetServerInfo", v1::GetServerInfoRequest(), &info);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(info.cpu_target(), target);
  }
}

TEST_F(ApplicationTest, RefusesACpuTargetThatThisProcessorLacksAndNamesThoseItHas) {
  config_.cpu_target = "mmx";
  const absl::Status status = Application::Start(config_, *logger_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("'mmx'"));
  for (const std::string& target : CpuTargets()) EXPECT_THAT(std::string(status.message()), HasSubstr(target));
}

TEST_F(ApplicationTest, RefusesAConfigurationOutOfRange) {
  config_.limits.slots_max = 1;
  const absl::Status status = Application::Start(config_, *logger_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("limits.slots_max"));
}

}  // namespace
}  // namespace quantd::server
