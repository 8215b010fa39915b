#include "server/telemetry/logger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>
#include <vector>

namespace quantd::server {
namespace {

using nlohmann::json;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

// Everything that `write` logs, once it has all been written.
template <typename Write>
std::string Logged(LogLevel level, LogFormat format, Write write) {
  std::ostringstream out;
  {
    const auto logger = MakeStreamLogger(level, format, out);
    write(*logger);
  }
  return out.str();
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

TEST(Logger, WritesAJsonObjectWithTimeLevelMessageAndFields) {
  const std::string text = Logged(LogLevel::kInfo, LogFormat::kJson, [](Logger& logger) {
    logger.Write(LogLevel::kWarning, "slow", {{"peer", "ipv4:1.2.3.4:5"}, {"bytes", uint64_t{1} << 63}, {"ms", 1.5}});
  });
  const json line = json::parse(text);
  EXPECT_EQ(line["level"], "warning");
  EXPECT_EQ(line["message"], "slow");
  EXPECT_EQ(line["peer"], "ipv4:1.2.3.4:5");
  EXPECT_EQ(line["bytes"], uint64_t{1} << 63);
  EXPECT_EQ(line["ms"], 1.5);
  EXPECT_THAT(line["time"].get<std::string>(),
              ::testing::MatchesRegex("[0-9]+-[0-9]+-[0-9]+T[0-9]+:[0-9]+:[0-9]+\\.[0-9]+Z"));
}

TEST(Logger, WritesTextWithQuotesOnlyWhereNeeded) {
  const std::string text = Logged(LogLevel::kInfo, LogFormat::kText, [](Logger& logger) {
    logger.Write(LogLevel::kInfo, "quantd 1 listening on x:1",
                 {{"plain", "a-b"}, {"spaced", "a b"}, {"none", ""}, {"n", uint64_t{7}}});
  });
  EXPECT_THAT(text, EndsWith(" info quantd 1 listening on x:1 plain=a-b spaced=\"a b\" none=\"\" n=7\n"));
}

TEST(Logger, LeavesOutWhatIsBelowItsLevel) {
  const std::string text = Logged(LogLevel::kWarning, LogFormat::kText, [](Logger& logger) {
    logger.Write(LogLevel::kInfo, "quiet");
    logger.Write(LogLevel::kWarning, "loud");
    logger.Write(LogLevel::kError, "louder");
  });
  EXPECT_THAT(Lines(text), ::testing::ElementsAre(EndsWith("loud"), EndsWith("louder")));
}

class HostileString : public ::testing::TestWithParam<std::string> {};

TEST_P(HostileString, StaysInsideItsJsonValue) {
  const std::string text = Logged(LogLevel::kInfo, LogFormat::kJson, [](Logger& logger) {
    logger.Write(LogLevel::kInfo, GetParam(), {{"name", GetParam()}, {"after", "intact"}});
  });
  ASSERT_EQ(Lines(text).size(), 1u);
  const json line = json::parse(text);
  EXPECT_EQ(line.size(), 5u);
  EXPECT_EQ(line["after"], "intact");
  for (char c : text.substr(0, text.size() - 1)) EXPECT_TRUE(c >= ' ' && c < 0x7f) << int{c};
}

TEST_P(HostileString, StaysInsideItsTextValue) {
  const std::string text = Logged(LogLevel::kInfo, LogFormat::kText, [](Logger& logger) {
    logger.Write(LogLevel::kInfo, "m", {{"name", GetParam()}, {"after", "intact"}});
  });
  ASSERT_EQ(Lines(text).size(), 1u);
  EXPECT_THAT(text, EndsWith(" after=intact\n"));
  EXPECT_THAT(text, HasSubstr("name=\""));
  for (char c : text.substr(0, text.size() - 1)) EXPECT_TRUE(c >= ' ' && c < 0x7f) << int{c};
}

INSTANTIATE_TEST_SUITE_P(All, HostileString,
                         ::testing::Values("two\nlines", "\r\n{\"level\":\"error\"}", "\",\"level\":\"error",
                                           "back\\slash", "tab\t bell\a escape\x1b[31m", std::string("zero\0byte", 9),
                                           "\x7f", "\xff\xfe not UTF-8", "cut \xe2\x82", "caf\xc3\xa9",
                                           "\xe2\x80\xa8separator", "a=b level=error", "%v %l {} {0}",
                                           std::string(5000, '\n')));

TEST(Logger, GivesBackAStringThatIsUtf8AsItWas) {
  const std::string name = "caf\xc3\xa9 \"\\\n\t\x01";
  const std::string text = Logged(LogLevel::kInfo, LogFormat::kJson,
                                  [&](Logger& logger) { logger.Write(LogLevel::kInfo, "m", {{"name", name}}); });
  EXPECT_EQ(json::parse(text)["name"], name);
}

TEST(Logger, CutsALongValue) {
  const std::string text = Logged(LogLevel::kInfo, LogFormat::kJson, [](Logger& logger) {
    logger.Write(LogLevel::kInfo, "m", {{"name", std::string(1u << 20, 'x')}});
  });
  EXPECT_EQ(json::parse(text)["name"].get<std::string>().size(), kLogValueBytesMax);
}

TEST(Logger, WritesANumberThatJsonHasNotAsNull) {
  const std::string text = Logged(LogLevel::kInfo, LogFormat::kJson, [](Logger& logger) {
    logger.Write(LogLevel::kInfo, "m", {{"ms", std::numeric_limits<double>::infinity()}});
  });
  EXPECT_TRUE(json::parse(text)["ms"].is_null());
}

TEST(Logger, KeepsTheLinesOfManyThreadsWhole) {
  constexpr int kThreads = 4;
  constexpr int kLinesOfOne = 200;
  static_assert(kThreads * kLinesOfOne < kLogQueueLines);
  const std::string text = Logged(LogLevel::kInfo, LogFormat::kJson, [](Logger& logger) {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&logger] {
        for (int line = 0; line < kLinesOfOne; ++line)
          logger.Write(LogLevel::kInfo, "m", {{"long", std::string(300, 'l')}});
      });
    }
  });
  const std::vector<std::string> lines = Lines(text);
  ASSERT_EQ(lines.size(), size_t{kThreads * kLinesOfOne});
  for (const std::string& line : lines) EXPECT_TRUE(json::accept(line)) << line;
}

}  // namespace
}  // namespace quantd::server
