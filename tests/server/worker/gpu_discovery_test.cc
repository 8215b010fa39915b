#include "server/worker/gpu_discovery.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quantd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Gpus = std::vector<std::string>;

Gpus Visible(const std::optional<std::string>& variable) {
  return VisibleGpus(variable, [] { return Gpus{"GPU-aaaa-1", "GPU-bbbb-2", "GPU-cccc-3"}; });
}

TEST(VisibleGpus, AreAllWithoutTheVariable) {
  EXPECT_THAT(Visible(std::nullopt), ElementsAre("GPU-aaaa-1", "GPU-bbbb-2", "GPU-cccc-3"));
}

TEST(VisibleGpus, AreNoneWhereTheVariableIsEmptyOrNegative) {
  EXPECT_THAT(Visible(""), IsEmpty());
  EXPECT_THAT(Visible("-1"), IsEmpty());
  EXPECT_THAT(Visible("NoDevFiles"), IsEmpty());
}

TEST(VisibleGpus, AreNamedAsTheVariableNamesThem) {
  EXPECT_THAT(Visible("2, 0"), ElementsAre("2", "0"));
  EXPECT_THAT(Visible("GPU-bb,GPU-aaaa-1"), ElementsAre("GPU-bb", "GPU-aaaa-1"));
  EXPECT_THAT(Visible("MIG-1234"), ElementsAre("MIG-1234"));
}

TEST(VisibleGpus, EndAtTheFirstThatDoesNotExist) {
  EXPECT_THAT(Visible("1,3,0"), ElementsAre("1"));
  EXPECT_THAT(Visible("GPU-cc,GPU-dd,0"), ElementsAre("GPU-cc"));
  EXPECT_THAT(Visible("1,,0"), ElementsAre("1"));
}

TEST(VisibleGpus, AreWorkedOnByOneProcessEach) { EXPECT_THAT(Visible("1,1,0"), ElementsAre("1")); }

TEST(VisibleGpus, AreNoMoreThanAServerCanUse) {
  EXPECT_EQ(VisibleGpus(std::nullopt, [] { return Gpus(kGpusMax + 5, "GPU-x"); }).size(), kGpusMax);
}

TEST(VisibleGpus, AreNoneWithoutADriver) {
  EXPECT_THAT(VisibleGpus("0", [] { return Gpus(); }), IsEmpty());
}

}  // namespace
}  // namespace quantd::server
