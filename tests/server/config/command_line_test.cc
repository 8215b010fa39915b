#include "server/config/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/config/config_file.h"

namespace quantd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

using Environment = std::map<std::string, std::string>;

absl::StatusOr<std::string> NoFile(const std::string& path) { return absl::NotFoundError("no file " + path); }

FileReader FileWith(const std::string& text) {
  return [text](const std::string&) -> absl::StatusOr<std::string> { return text; };
}

TEST(CommandLine, NothingGivenIsTheDefault) {
  const auto parsed = ParseCommandLine({}, {}, NoFile);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(ToToml(parsed->config), ToToml(ServerConfig()));
  EXPECT_EQ(parsed->print, "");
}

TEST(CommandLine, FileBeatsDefault) {
  const auto parsed = ParseCommandLine({"--config", "f"}, {}, FileWith("[logging]\nlevel = 'debug'"));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->config.log_level, LogLevel::kDebug);
}

TEST(CommandLine, EnvironmentBeatsFile) {
  const auto parsed =
      ParseCommandLine({"--config", "f"}, {{"QUANTD_LOG_LEVEL", "warning"}}, FileWith("[logging]\nlevel = 'debug'"));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->config.log_level, LogLevel::kWarning);
}

TEST(CommandLine, FlagBeatsEnvironment) {
  const auto parsed = ParseCommandLine({"--log-level", "error"}, {{"QUANTD_LOG_LEVEL", "warning"}}, NoFile);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->config.log_level, LogLevel::kError);
}

TEST(CommandLine, AnEmptyVariableIsNotSet) {
  const auto parsed = ParseCommandLine({}, {{"QUANTD_LOG_LEVEL", ""}, {"QUANTD_LISTEN", ""}}, NoFile);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->config.log_level, LogLevel::kInfo);
  EXPECT_EQ(parsed->config.listen, ServerConfig().listen);
}

TEST(CommandLine, TheFileCanBeNamedInTheEnvironmentAndTheFlagBeatsIt) {
  std::string read;
  const FileReader reader = [&](const std::string& path) -> absl::StatusOr<std::string> {
    read = path;
    return std::string("compute_threads = 2");
  };
  ASSERT_TRUE(ParseCommandLine({}, {{"QUANTD_CONFIG", "from_environment"}}, reader).ok());
  EXPECT_EQ(read, "from_environment");
  ASSERT_TRUE(ParseCommandLine({"--config=from_flag"}, {{"QUANTD_CONFIG", "from_environment"}}, reader).ok());
  EXPECT_EQ(read, "from_flag");
}

TEST(CommandLine, EveryFlagSetsItsField) {
  const auto parsed =
      ParseCommandLine({"--listen",          ":1",          "--listen",     "unix:/a",      "--admin-listen",
                        "127.0.0.1:3",       "--log-level", "debug",        "--log-format", "json",
                        "--compute-threads", "5",           "--cpu-target", "scalar",       "--spool-directory",
                        "/var/tmp",          "--gpu",       "off",          "--gpu-worker", "/opt/worker"},
                       {}, NoFile);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_THAT(parsed->config.listen, ElementsAre(":1", "unix:/a"));
  EXPECT_EQ(parsed->config.admin_listen, "127.0.0.1:3");
  EXPECT_EQ(parsed->config.log_level, LogLevel::kDebug);
  EXPECT_EQ(parsed->config.log_format, LogFormat::kJson);
  EXPECT_EQ(parsed->config.compute_threads, 5u);
  EXPECT_EQ(parsed->config.cpu_target, "scalar");
  EXPECT_EQ(parsed->config.spool_directory, "/var/tmp");
  EXPECT_EQ(parsed->config.gpu.mode, GpuMode::kOff);
  EXPECT_EQ(parsed->config.gpu.worker_path, "/opt/worker");
}

TEST(CommandLine, EveryVariableSetsItsField) {
  const auto parsed = ParseCommandLine({},
                                       {{"QUANTD_LISTEN", ":1,unix:/a"},
                                        {"QUANTD_ADMIN_LISTEN", "127.0.0.1:3"},
                                        {"QUANTD_LOG_LEVEL", "debug"},
                                        {"QUANTD_LOG_FORMAT", "json"},
                                        {"QUANTD_COMPUTE_THREADS", "5"},
                                        {"QUANTD_CPU_TARGET", "scalar"},
                                        {"QUANTD_SPOOL_DIRECTORY", "/var/tmp"},
                                        {"QUANTD_GPU", "off"},
                                        {"QUANTD_GPU_WORKER", "/opt/worker"}},
                                       NoFile);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_THAT(parsed->config.listen, ElementsAre(":1", "unix:/a"));
  EXPECT_EQ(parsed->config.admin_listen, "127.0.0.1:3");
  EXPECT_EQ(parsed->config.log_level, LogLevel::kDebug);
  EXPECT_EQ(parsed->config.log_format, LogFormat::kJson);
  EXPECT_EQ(parsed->config.compute_threads, 5u);
  EXPECT_EQ(parsed->config.cpu_target, "scalar");
  EXPECT_EQ(parsed->config.spool_directory, "/var/tmp");
  EXPECT_EQ(parsed->config.gpu.mode, GpuMode::kOff);
  EXPECT_EQ(parsed->config.gpu.worker_path, "/opt/worker");
}

TEST(CommandLine, KnowsTheGpusThatItMaySeeEvenIfTheyAreNone) {
  EXPECT_EQ(ParseCommandLine({}, {}, NoFile)->config.gpu.visible_devices, std::nullopt);
  EXPECT_EQ(ParseCommandLine({}, {{"CUDA_VISIBLE_DEVICES", ""}}, NoFile)->config.gpu.visible_devices, "");
  EXPECT_EQ(ParseCommandLine({}, {{"CUDA_VISIBLE_DEVICES", "1,0"}}, NoFile)->config.gpu.visible_devices, "1,0");
}

TEST(CommandLine, AWorkerGetsOfTheEnvironmentWhatCudaNeeds) {
  const auto parsed = ParseCommandLine({},
                                       {{"CUDA_CACHE_PATH", "/c"},
                                        {"CUDA_VISIBLE_DEVICES", "1"},
                                        {"DATABASE_PASSWORD", "secret"},
                                        {"LD_LIBRARY_PATH", "/l"},
                                        {"NVIDIA_TF32_OVERRIDE", "0"}},
                                       NoFile);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_THAT(parsed->config.gpu.worker_environment,
              ElementsAre("CUDA_CACHE_PATH=/c", "LD_LIBRARY_PATH=/l", "NVIDIA_TF32_OVERRIDE=0"));
}

TEST(CommandLine, PrintsTheResolvedConfigurationAsAFileForTheNextStart) {
  const auto printed = ParseCommandLine({"--print-config", "--listen", ":7"}, {{"QUANTD_LOG_FORMAT", "json"}}, NoFile);
  ASSERT_TRUE(printed.ok()) << printed.status();
  const auto again = ParseCommandLine({"--config", "f"}, {}, FileWith(printed->print));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_THAT(again->config.listen, ElementsAre(":7"));
  EXPECT_EQ(again->config.log_format, LogFormat::kJson);
}

TEST(CommandLine, PrintsTheVersionWithoutLookingAtAnythingElse) {
  const auto parsed = ParseCommandLine({"--version", "--config", "missing"}, {}, NoFile);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_THAT(parsed->print, StartsWith("quantd "));
}

TEST(CommandLine, HelpNamesTheFlagsAndTheExitCodes) {
  const auto parsed = ParseCommandLine({"--help"}, {}, NoFile);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_THAT(parsed->print, HasSubstr("--admin-listen"));
  EXPECT_THAT(parsed->print, HasSubstr("Exit codes"));
}

struct BadInvocation {
  std::vector<std::string> arguments;
  Environment environment;
  std::string says;
};

class RefusedCommandLine : public ::testing::TestWithParam<BadInvocation> {};

TEST_P(RefusedCommandLine, NamesTheSetting) {
  const auto parsed = ParseCommandLine(GetParam().arguments, GetParam().environment, NoFile);
  ASSERT_FALSE(parsed.ok());
  EXPECT_THAT(std::string(parsed.status().message()), HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(
    All, RefusedCommandLine,
    ::testing::Values(BadInvocation{{"--no-such-flag"}, {}, "--no-such-flag"},
                      BadInvocation{{"positional"}, {}, "positional"}, BadInvocation{{"--listen"}, {}, "--listen"},
                      BadInvocation{{"--listen", "nowhere"}, {}, "\"nowhere\""},
                      BadInvocation{{}, {{"QUANTD_LISTEN", ":1,,:2"}}, "listen"},
                      BadInvocation{{"--log-level", "loud"}, {}, "--log-level"},
                      BadInvocation{{}, {{"QUANTD_LOG_LEVEL", "loud"}}, "QUANTD_LOG_LEVEL"},
                      BadInvocation{{"--log-format", "xml"}, {}, "--log-format"},
                      BadInvocation{{"--compute-threads", "-1"}, {}, "--compute-threads"},
                      BadInvocation{{}, {{"QUANTD_COMPUTE_THREADS", "two"}}, "QUANTD_COMPUTE_THREADS"},
                      BadInvocation{{"--compute-threads", "1025"}, {}, "compute_threads"},
                      BadInvocation{{"--config", "gone.toml"}, {}, "gone.toml"}));

TEST(ReadConfigFile, SaysWhichFileIsMissing) {
  const auto text = ReadConfigFile("/nonexistent/quantd.toml");
  EXPECT_EQ(text.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(text.status().message()), HasSubstr("/nonexistent/quantd.toml"));
}

}  // namespace
}  // namespace quantd::server
