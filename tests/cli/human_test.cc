#include "client/cli/human.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace quantd::cli {
namespace {

TEST(HumanBytes, UsesPowersOf1024) {
  EXPECT_EQ(HumanBytes(0), "0 B");
  EXPECT_EQ(HumanBytes(1023), "1023 B");
  EXPECT_EQ(HumanBytes(1024), "1.00 KiB");
  EXPECT_EQ(HumanBytes(3u << 19), "1.50 MiB");
  EXPECT_EQ(HumanBytes(UINT64_MAX), "16.00 EiB");
}

TEST(HumanGigabytesPerSecond, UsesPowersOf1000) {
  EXPECT_EQ(HumanGigabytesPerSecond(3'000'000'000, absl::Seconds(2)), "1.50");
  EXPECT_EQ(HumanGigabytesPerSecond(1, absl::ZeroDuration()), "-");
}

TEST(HumanShape, NamesAScalar) {
  EXPECT_EQ(HumanShape({}), "scalar");
  EXPECT_EQ(HumanShape(std::vector<uint64_t>{3, 0, 5}), "3x0x5");
}

TEST(HumanNumber, SpellsInfinity) { EXPECT_EQ(HumanNumber(-std::numeric_limits<double>::infinity()), "-inf"); }

}  // namespace
}  // namespace quantd::cli
