#include "client/cpp/channel_pool.h"

#include "gmock/gmock.h"
#include "grpcpp/create_channel.h"
#include "gtest/gtest.h"

namespace quantd {
namespace {

using ::testing::SizeIs;

class ChannelPoolTest : public ::testing::Test {
 protected:
  int made_ = 0;
  ChannelPool pool_{
      [this](const std::string& target) {
        ++made_;
        targets_.push_back(target);
        return grpc::CreateChannel(target, grpc::InsecureChannelCredentials());
      },
      ServerAddresses("ipv4:127.0.0.1:1,127.0.0.1:2", {ResolveTarget, [](const std::string&) { return true; }}), 3};
  std::vector<std::string> targets_;
};

TEST_F(ChannelPoolTest, OneCallGetsWhatItWantsWhileNobodyElseIsThere) {
  EXPECT_THAT(pool_.Take(2), SizeIs(2));
  EXPECT_THAT(pool_.Take(9), SizeIs(3));
}

TEST_F(ChannelPoolTest, ALaterCallGetsIdleConnectionsOnlyButAtLeastOne) {
  const auto first = pool_.Take(2);
  const auto second = pool_.Take(3);
  EXPECT_THAT(second, SizeIs(1));
  EXPECT_THAT(pool_.Take(3), SizeIs(1));
  EXPECT_NE(second[0].channel(), first[0].channel());
  EXPECT_NE(second[0].channel(), first[1].channel());
}

TEST_F(ChannelPoolTest, ConnectionsAreUsedAgain) {
  const auto channel = pool_.Take(1)[0].channel();
  EXPECT_EQ(pool_.Take(1)[0].channel(), channel);
  EXPECT_EQ(made_, 1);
}

TEST_F(ChannelPoolTest, MakesNoChannelBeforeItIsUsed) {
  EXPECT_THAT(pool_.Take(3), SizeIs(3));
  EXPECT_EQ(made_, 0);
}

TEST_F(ChannelPoolTest, AllConnectionsGoToOneAddress) {
  for (const auto& lease : pool_.Take(3)) lease.channel();
  EXPECT_THAT(targets_, ::testing::Each("ipv4:127.0.0.1:1"));
}

TEST_F(ChannelPoolTest, TheyMoveOnTogetherAndOnce) {
  const auto leases = pool_.Take(2);
  const auto old = leases[0].channel();
  leases[1].channel();
  leases[0].MoveOn();
  leases[1].MoveOn();  // has found out too
  EXPECT_NE(leases[0].channel(), old);
  leases[1].channel();
  EXPECT_THAT(targets_,
              ::testing::ElementsAre("ipv4:127.0.0.1:1", "ipv4:127.0.0.1:1", "ipv4:127.0.0.1:2", "ipv4:127.0.0.1:2"));
}

}  // namespace
}  // namespace quantd
