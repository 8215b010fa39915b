#include "client/cpp/retry.h"

#include <limits>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quantd {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

AttemptResult Refused(std::optional<absl::Duration> pushback = std::nullopt) {
  return {absl::UnavailableError("busy"), true, pushback};
}

// Plays one result after another, the last one for ever, and records the delays between them.
struct World {
  std::vector<AttemptResult> script;
  double uniform = 1;
  absl::Duration time_left = absl::InfiniteDuration();
  bool cancelled = false;
  size_t attempts = 0;
  std::vector<absl::Duration> delays;

  absl::Status Run(const RetryPolicy& policy = {}) {
    const RetryEnvironment environment{.uniform = [this] { return uniform; },
                                       .sleep = [this](absl::Duration delay) { delays.push_back(delay); },
                                       .time_left = [this] { return time_left; },
                                       .cancelled = [this] { return cancelled; }};
    return RunWithRetries(policy, environment, [this] {
      const size_t index = std::min(attempts++, script.size() - 1);
      return script[index];
    });
  }
};

TEST(Retry, SucceedsWithoutWaiting) {
  World world{{{absl::OkStatus(), false, {}}}};
  EXPECT_TRUE(world.Run().ok());
  EXPECT_EQ(world.attempts, 1u);
  EXPECT_THAT(world.delays, IsEmpty());
}

TEST(Retry, WaitsTwiceAsLongEveryTimeUpToTheLimit) {
  World world{{Refused()}};
  EXPECT_EQ(world.Run({.attempts_max = 6, .backoff_max = absl::Milliseconds(500)}).code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(world.attempts, 6u);
  EXPECT_THAT(world.delays, ElementsAre(absl::Milliseconds(100), absl::Milliseconds(200), absl::Milliseconds(400),
                                        absl::Milliseconds(500), absl::Milliseconds(500)));
}

TEST(Retry, JitterTakesAPartOfTheDelayAndNotOfTheNextOne) {
  World world{{Refused(), Refused(), {absl::OkStatus(), false, {}}}, 0.25};
  EXPECT_TRUE(world.Run().ok());
  EXPECT_THAT(world.delays, ElementsAre(absl::Milliseconds(25), absl::Milliseconds(50)));
}

TEST(Retry, AttemptsAndDelaysBeginAnewWithEveryNewResult) {
  AttemptResult advanced = Refused();
  advanced.advanced = true;
  World world{{Refused(), Refused(), advanced, Refused(), advanced, Refused()}};
  EXPECT_EQ(world.Run({.attempts_max = 3}).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(world.attempts, 7u);
  EXPECT_THAT(world.delays, ElementsAre(absl::Milliseconds(100), absl::Milliseconds(200), absl::Milliseconds(100),
                                        absl::Milliseconds(200), absl::Milliseconds(100), absl::Milliseconds(200)));
}

TEST(Retry, PushbackReplacesTheDelay) {
  World world{{Refused(absl::Milliseconds(700)), Refused(), {absl::OkStatus(), false, {}}}};
  EXPECT_TRUE(world.Run().ok());
  EXPECT_THAT(world.delays, ElementsAre(absl::Milliseconds(700), absl::Milliseconds(200)));
}

TEST(Retry, NegativePushbackForbids) {
  World world{{Refused(absl::Milliseconds(-1))}};
  EXPECT_EQ(world.Run().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(world.attempts, 1u);
}

TEST(Retry, NotOnceAResultHasCome) {
  World world{{{absl::UnavailableError("broken"), false, {}}}};
  EXPECT_EQ(world.Run().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(world.attempts, 1u);
}

TEST(Retry, OnlyWhatIsUnavailable) {
  for (int code = 1; code <= 16; ++code) {
    const absl::Status status(static_cast<absl::StatusCode>(code), "no");
    World world{{{status, true, {}}}};
    EXPECT_EQ(world.Run(), status);
    EXPECT_EQ(world.attempts, status.code() == absl::StatusCode::kUnavailable ? 5u : 1u) << status;
  }
}

TEST(Retry, OneAttemptMeansNone) {
  World world{{Refused()}};
  EXPECT_FALSE(world.Run({.attempts_max = 1}).ok());
  EXPECT_EQ(world.attempts, 1u);
}

TEST(Retry, DoesNotWaitPastTheDeadline) {
  World world{{Refused()}};
  world.time_left = absl::Milliseconds(200);
  EXPECT_EQ(world.Run().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(world.delays, ElementsAre(absl::Milliseconds(100)));
}

TEST(Retry, EndsWhenCancelledDuringTheWait) {
  World world{{Refused()}};
  world.cancelled = true;
  EXPECT_EQ(world.Run().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(world.attempts, 1u);
}

TEST(RetryPolicy, IsCheckedForItsRanges) {
  EXPECT_TRUE(ValidateRetryPolicy({}).ok());
  EXPECT_FALSE(ValidateRetryPolicy({.attempts_max = 0}).ok());
  EXPECT_FALSE(ValidateRetryPolicy({.first_backoff = absl::Seconds(-1)}).ok());
  EXPECT_FALSE(ValidateRetryPolicy({.first_backoff = absl::Seconds(20)}).ok());
  EXPECT_FALSE(ValidateRetryPolicy({.multiplier = 0.5}).ok());
  EXPECT_FALSE(ValidateRetryPolicy({.multiplier = std::numeric_limits<double>::quiet_NaN()}).ok());
}

TEST(Pushback, ReadsMillisecondsAndForbidsWhatItCannotRead) {
  EXPECT_EQ(ParsePushback("0"), absl::ZeroDuration());
  EXPECT_EQ(ParsePushback("700"), absl::Milliseconds(700));
  for (const char* forbidding : {"-1", "", "soon", "99999999999999999999", "1.5"}) {
    EXPECT_LT(ParsePushback(forbidding), absl::ZeroDuration()) << forbidding;
  }
}

}  // namespace
}  // namespace quantd
