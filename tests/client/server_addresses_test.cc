#include "client/cpp/server_addresses.h"

#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quantd {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;

TEST(ResolveTarget, AListOfAddressesIsSplit) {
  EXPECT_THAT(ResolveTarget("ipv4:10.0.0.1:80,10.0.0.2:81"), ElementsAre("ipv4:10.0.0.1:80", "ipv4:10.0.0.2:81"));
  EXPECT_THAT(ResolveTarget("ipv6:[::1]:80,[::2]:81"), ElementsAre("ipv6:[::1]:80", "ipv6:[::2]:81"));
}

TEST(ResolveTarget, ANumericAddressIsItself) {
  EXPECT_THAT(ResolveTarget("127.0.0.1:50051"), ElementsAre("ipv4:127.0.0.1:50051"));
  EXPECT_THAT(ResolveTarget("dns:///127.0.0.1:50051"), ElementsAre("ipv4:127.0.0.1:50051"));
}

TEST(ResolveTarget, ANameBecomesItsAddresses) {
  EXPECT_THAT(ResolveTarget("localhost:50051"), Contains("ipv4:127.0.0.1:50051"));
}

TEST(ResolveTarget, WhatIsNoNameIsLeftToGrpc) {
  for (const char* target : {"unix:/run/quantd.sock", "unix-abstract:quantd", "dns://8.8.8.8/host:1", "xds:///host:1",
                             "no-port", "", "host.invalid:1"}) {
    EXPECT_THAT(ResolveTarget(target), ElementsAre(target));
  }
}

TEST(AuthorityOf, IsTheNameAndNoAddress) {
  EXPECT_EQ(AuthorityOf("dns:///quantd.example:443"), "quantd.example:443");
  EXPECT_EQ(AuthorityOf("[::1]:443"), "[::1]:443");
  EXPECT_EQ(AuthorityOf("ipv4:10.0.0.1:80"), "");
  EXPECT_EQ(AuthorityOf("unix:/run/quantd.sock"), "");
}

class ServerAddressesTest : public ::testing::Test {
 protected:
  std::vector<std::string> resolved_ = {"a", "b", "c"};
  std::set<std::string> down_;
  int resolutions_ = 0;
  ServerAddresses addresses_{"name",
                             {[this](const std::string&) {
                                ++resolutions_;
                                return resolved_;
                              },
                              [this](const std::string& address) { return !down_.contains(address); }}};
};

TEST_F(ServerAddressesTest, PinsTheFirstAndResolvesOnce) {
  EXPECT_EQ(addresses_.Get().target, "a");
  EXPECT_EQ(addresses_.Get().target, "a");
  EXPECT_EQ(resolutions_, 1);
}

TEST_F(ServerAddressesTest, PinsTheFirstThatCanBeConnectedTo) {
  down_ = {"a"};
  EXPECT_EQ(addresses_.Get().target, "b");
}

TEST_F(ServerAddressesTest, MovesOnFromTheOneThatFailed) {
  const auto first = addresses_.Get();
  addresses_.MoveOn(first.generation);
  EXPECT_EQ(addresses_.Get().target, "b");
  EXPECT_NE(addresses_.Get().generation, first.generation);
  addresses_.MoveOn(first.generation);  // of another connection to the same server
  EXPECT_EQ(addresses_.Get().target, "b");
  EXPECT_EQ(resolutions_, 1);
}

TEST_F(ServerAddressesTest, AfterTheLastTheNameIsResolvedAnew) {
  for (int i = 0; i < 3; ++i) {
    resolved_ = i == 2 ? std::vector<std::string>{"d"} : resolved_;
    addresses_.MoveOn(addresses_.Get().generation);
  }
  EXPECT_EQ(addresses_.Get().target, "d");
  EXPECT_EQ(resolutions_, 2);
}

TEST_F(ServerAddressesTest, TheOnlyAddressStaysTheSameConnection) {
  resolved_ = {"a"};
  const auto first = addresses_.Get();
  addresses_.MoveOn(first.generation);
  EXPECT_EQ(addresses_.Get().target, "a");
  EXPECT_EQ(addresses_.Get().generation, first.generation);
}

TEST_F(ServerAddressesTest, WhereNoneCanBeConnectedToGrpcSaysWhy) {
  down_ = {"a", "b", "c"};
  EXPECT_EQ(addresses_.Get().target, "a");
}

}  // namespace
}  // namespace quantd
