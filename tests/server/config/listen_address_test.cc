#include "server/config/listen_address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quantd::server {
namespace {

using ::testing::HasSubstr;

TEST(ListenAddress, HasAHostAndAPort) {
  const auto address = ParseListenAddress("listen", "127.0.0.1:50051");
  ASSERT_TRUE(address.ok()) << address.status();
  EXPECT_EQ(address->host, "127.0.0.1");
  EXPECT_EQ(address->port, 50051);
  EXPECT_FALSE(address->is_unix());
}

TEST(ListenAddress, WithoutAHostIsEveryInterface) {
  const auto address = ParseListenAddress("listen", ":0");
  ASSERT_TRUE(address.ok()) << address.status();
  EXPECT_EQ(address->host, "[::]");
  EXPECT_EQ(address->port, 0);
}

TEST(ListenAddress, TakesAnIpv6HostInBrackets) {
  const auto address = ParseListenAddress("listen", "[::1]:65535");
  ASSERT_TRUE(address.ok()) << address.status();
  EXPECT_EQ(address->host, "[::1]");
  EXPECT_EQ(address->port, 65535);
}

TEST(ListenAddress, TakesAUnixPathOfTheLargestSize) {
  const std::string path = "/" + std::string(kUnixPathBytesMax - 1, 'p');
  const auto address = ParseListenAddress("listen", "unix:" + path);
  ASSERT_TRUE(address.ok()) << address.status();
  EXPECT_TRUE(address->is_unix());
  EXPECT_EQ(address->path, path);
}

struct Refusal {
  std::string text;
  std::string problem;
};

class RefusedListenAddress : public ::testing::TestWithParam<Refusal> {};

TEST_P(RefusedListenAddress, NamesTheFieldTheProblemAndTheRemedy) {
  const absl::Status status = ParseListenAddress("admin_listen", GetParam().text).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  const std::string message(status.message());
  EXPECT_THAT(message, HasSubstr("admin_listen"));
  EXPECT_THAT(message, HasSubstr(GetParam().problem));
  EXPECT_THAT(message, HasSubstr("127.0.0.1:50051"));
}

INSTANTIATE_TEST_SUITE_P(All, RefusedListenAddress,
                         ::testing::Values(Refusal{"", "no port"}, Refusal{"localhost", "no port"},
                                           Refusal{"host:", "no port"}, Refusal{"host:65536", "no port"},
                                           Refusal{"host:-1", "no port"}, Refusal{"host:80x", "no port"},
                                           Refusal{"::1:80", "without [brackets]"},
                                           Refusal{"http://host:80", "without [brackets]"},
                                           Refusal{"a/b:80", "not a host"}, Refusal{"unix:", "no path"},
                                           Refusal{std::string("unix:/a\0b", 9), "zero byte"},
                                           Refusal{"unix:/" + std::string(kUnixPathBytesMax, 'p'), "108 bytes"}));

}  // namespace
}  // namespace quantd::server
