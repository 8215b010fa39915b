#include "client/cli/params_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/cli/exit_code.h"
#include "tests/conversion/temporary_folder.h"

namespace quantd::cli {
namespace {

using ::testing::HasSubstr;

void ExpectRefused(const std::string& json, const std::string& message) {
  const auto params = ParseParams(json);
  ASSERT_FALSE(params.ok()) << json;
  EXPECT_EQ(ExitCodeOf(params.status()), ExitCode::kUsage);
  EXPECT_THAT(std::string(params.status().message()), HasSubstr(message));
}

TEST(ParseParams, ReadsStatisticsByTensor) {
  const auto params = ParseParams(R"({"w": {"offset": 0.09911634773015976}, "b": {"offset": -1}, "none": {},
      "all": {"global_scale": 1.5, "amax": 3.0, "min": -1, "max": 2}})");
  ASSERT_TRUE(params.ok()) << params.status();
  EXPECT_EQ(params->at("w").offset, 0.09911634773015976f);
  EXPECT_EQ(params->at("b").offset, -1.0f);
  EXPECT_EQ(params->at("none").offset, std::nullopt);
  const KnownStatistics& all = params->at("all");
  EXPECT_EQ(all.offset, std::nullopt);
  EXPECT_EQ(all.global_scale, 1.5f);
  EXPECT_EQ(all.amax, 3.0f);
  EXPECT_EQ(all.min, -1.0f);
  EXPECT_EQ(all.max, 2.0f);
}

TEST(ParseParams, NamesWhatItDoesNotKnow) {
  ExpectRefused(R"({"w": {"offzet": 1}})",
                "tensor 'w': unknown key 'offzet'; known: offset, global_scale, amax, min, max");
  ExpectRefused(R"({"w": 1})", "tensor 'w'");
}

TEST(ParseParams, RefusesValuesThatAreNoFiniteFloat) {
  for (const char* value : {"\"1\"", "null", "true", "1e39", "1e400", "[1]"}) {
    EXPECT_FALSE(ParseParams(std::string(R"({"w": {"offset": )") + value + "}}").ok()) << value;
  }
}

TEST(ParseParams, RefusesWhatIsNoObjectAndAnythingTwice) {
  for (const char* json : {"", "[]", "{", "null", R"({"w": {}} {})"}) ExpectRefused(json, "not a JSON object");
  ExpectRefused(R"({"w": {}, "w": {}})", "'w' twice");
  ExpectRefused(R"({"w": {"offset": 1, "offset": 2}})", "'offset' twice");
}

TEST(ReadParamsFile, NamesTheFile) {
  TemporaryFolder folder;
  const auto missing = ReadParamsFile(folder.File("missing.json"));
  EXPECT_EQ(ExitCodeOf(missing.status()), ExitCode::kFile);
  EXPECT_THAT(std::string(missing.status().message()), HasSubstr("missing.json"));
  WriteFile(folder.File("bad.json"), "{");
  const auto bad = ReadParamsFile(folder.File("bad.json"));
  EXPECT_EQ(ExitCodeOf(bad.status()), ExitCode::kUsage);
  EXPECT_THAT(std::string(bad.status().message()), HasSubstr("bad.json"));
}

}  // namespace
}  // namespace quantd::cli
