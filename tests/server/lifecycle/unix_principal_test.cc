#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <sstream>
#include <thread>
#include <vector>

#include "server/lifecycle/server.h"
#include "tests/server/lifecycle/calls.h"
#include "tests/server/lifecycle/fake_service.h"
#include "tests/server/lifecycle/scratch_folder.h"

namespace quantd::server {
namespace {

using ::testing::HasSubstr;

class UnixPrincipal : public ::testing::Test {
 protected:
  void Start(std::vector<uint32_t> allowed_uids, PeerUid peer_uid) {
    ServerConfig config;
    config.listen = {address_, "127.0.0.1:0"};
    config.unix_allowed_uids = std::move(allowed_uids);
    auto server = Server::Start(config, service_, *logger_, device_health_, std::move(peer_uid));
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  // All that was logged; ends the server and the logger.
  std::string Log() {
    server_.reset();
    logger_.reset();
    return log_.str();
  }

  const ScratchFolder folder_;
  const std::string address_ = "unix:" + folder_.File("socket");
  std::ostringstream log_;
  std::unique_ptr<Logger> logger_ = MakeStreamLogger(LogLevel::kInfo, LogFormat::kText, log_);
  FakeService service_;
  DeviceHealth device_health_;
  std::unique_ptr<Server> server_;
};

TEST_F(UnixPrincipal, IsTheUserThatTheKernelSays) {
  Start({}, KernelPeerUid);
  EXPECT_EQ(server_->addresses()[0], address_);
  const auto channel = Connect(address_);
  EXPECT_EQ(PrincipalOf(channel), "uid:" + std::to_string(geteuid()));
  EXPECT_EQ(PrincipalOf(channel), "uid:" + std::to_string(geteuid())) << "on the second call of the connection";
}

TEST_F(UnixPrincipal, IsAnonymousOverTcp) {
  Start({}, KernelPeerUid);
  EXPECT_EQ(PrincipalOf(Connect(server_->addresses()[1])), "anonymous");
}

TEST_F(UnixPrincipal, IsRootForRoot) {
  Start({}, [](int) { return 0u; });
  EXPECT_EQ(PrincipalOf(Connect(address_)), "uid:0");
}

TEST_F(UnixPrincipal, IsEachConnectionsOwn) {
  std::atomic<uint32_t> next_uid = 4242;
  Start({4242, 4243}, [&](int) { return next_uid++; });
  const auto first = Connect(address_);
  EXPECT_EQ(PrincipalOf(first), "uid:4242");
  const auto second = Connect(address_);
  EXPECT_EQ(PrincipalOf(second), "uid:4243");
  EXPECT_EQ(PrincipalOf(first), "uid:4242");
}

TEST_F(UnixPrincipal, IsNamedOnceHoweverManyCallsStartTogether) {
  Start({4242}, [](int) { return 4242u; });
  const auto channel = Connect(address_);
  std::vector<std::jthread> callers;
  for (int i = 0; i < 8; ++i) {
    callers.emplace_back([&] {
      for (int call = 0; call < 20; ++call) EXPECT_EQ(PrincipalOf(channel), "uid:4242");
    });
  }
}

TEST_F(UnixPrincipal, ThatIsNotAllowedIsClosedAndLogged) {
  Start({4242}, [](int) { return 4243u; });
  EXPECT_NE(PrincipalOf(Connect(address_)), "uid:4243");
  const std::string log = Log();
  EXPECT_THAT(log, HasSubstr("refused"));
  EXPECT_THAT(log, HasSubstr("uid=4243"));
}

TEST_F(UnixPrincipal, ThatIsUnknownIsClosedAndLogged) {
  Start({}, [](int) -> absl::StatusOr<uint32_t> { return absl::InternalError("no credentials"); });
  EXPECT_NE(PrincipalOf(Connect(address_)), "anonymous");
  EXPECT_THAT(Log(), HasSubstr("no credentials"));
}

}  // namespace
}  // namespace quantd::server
