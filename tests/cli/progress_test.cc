#include "client/cli/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "tests/cli/command_test.h"

namespace quantd::cli {
namespace {

using ::testing::HasSubstr;

TEST(Progress, WritesALineForEachTensorWhereThereIsNoTerminal) {
  ManualClock clock;
  std::ostringstream stream;
  {
    Progress progress(stream, false, clock, "quantizing", 2, 3072);
    progress.Begin("a", 1024);
    progress.Update(512);
    progress.End();
    progress.Begin("b", 2048);
    progress.End();
  }
  EXPECT_EQ(stream.str(), "quantizing 1/2 a (1.00 KiB)\nquantizing 2/2 b (2.00 KiB)\n");
}

TEST(Progress, WritesALineNowAndThenInsideALongTensor) {
  ManualClock clock;
  std::ostringstream stream;
  Progress progress(stream, false, clock, "quantizing", 1, 4096);
  progress.Begin("a", 4096);
  clock.now += Progress::kLineInterval;
  progress.Update(1024);
  progress.Update(2048);
  EXPECT_EQ(stream.str(), "quantizing 1/1 a (4.00 KiB)\nquantizing 1.00 KiB of 4.00 KiB, 0.00 GB/s, 1/1 a\n");
}

TEST(Progress, DrawsABarAtMostOnceInAnIntervalAndTakesItAway) {
  ManualClock clock;
  std::ostringstream stream;
  {
    Progress progress(stream, true, clock, "quantizing", 1, 4096);
    progress.Begin("a\x1b[2J", 4096);
    stream.str("");
    progress.Update(1024);
    EXPECT_EQ(stream.str(), "");
    clock.now += Progress::kBarInterval;
    progress.Update(2048);
    EXPECT_THAT(stream.str(), HasSubstr("[############............] 2.00 KiB of 4.00 KiB"));
    EXPECT_THAT(stream.str(), HasSubstr("a\\x1b[2J"));
    stream.str("");
  }
  EXPECT_EQ(stream.str(), "\r\x1b[2K");
}

TEST(Progress, OfNothingDoesNotDivideByZero) {
  ManualClock clock;
  std::ostringstream stream;
  Progress progress(stream, true, clock, "quantizing", 1, 0);
  progress.Begin("empty", 0);
  EXPECT_THAT(stream.str(), HasSubstr("[........................] 0 B of 0 B"));
}

}  // namespace
}  // namespace quantd::cli
