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
  ChannelPool pool_{[this] {
                      ++made_;
                      return grpc::CreateChannel("127.0.0.1:1", grpc::InsecureChannelCredentials());
                    },
                    3};
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

}  // namespace
}  // namespace quantd
