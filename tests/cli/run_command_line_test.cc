#include "client/cli/run_command_line.h"

#include "tests/cli/command_test.h"

namespace quantd::cli {
namespace {

using ::testing::HasSubstr;

using RunCommandLineTest = CommandTest;

TEST_F(RunCommandLineTest, HelpNamesCommandsAndExitCodes) {
  EXPECT_EQ(Run({"--help"}), ExitCode::kOk);
  for (const char* text : {"quantize", "dequantize", "compare", "schemes", "info", "Exit codes: 0 done", "130"}) {
    EXPECT_THAT(out_.str(), HasSubstr(text));
  }
}

TEST_F(RunCommandLineTest, NeedsExactlyOneKnownCommand) {
  EXPECT_EQ(Run({}), ExitCode::kUsage);
  EXPECT_EQ(Run({"quantise"}), ExitCode::kUsage);
  EXPECT_FALSE(err_.str().empty());
}

TEST_F(RunCommandLineTest, InfoPrintsTheServersLimits) {
  client_->info.version = "9.8.7";
  client_->info.stall_max = absl::Seconds(60);
  client_->info.gpus = {{"GPU-1f", "sm_90", "serving", 1, 2, 3, 4}};
  EXPECT_EQ(Run({"info", "--address", "host:1"}), ExitCode::kOk);
  EXPECT_EQ(addresses_.front(), "host:1");
  EXPECT_THAT(out_.str(), HasSubstr("version: 9.8.7\n"));
  EXPECT_EQ(Run({"info", "--json"}), ExitCode::kOk);
  EXPECT_EQ(Json()["stall_ms_max"], 60000);
  EXPECT_EQ(Json()["gpus"][0]["state"], "serving");
  EXPECT_EQ(Json()["gpus"][0]["losses"], 3);
  EXPECT_EQ(Json()["gpus"][0]["replays"], 4);
}

TEST_F(RunCommandLineTest, TheCpuTargetIsOfTheServerInThisProcessOnly) {
  EXPECT_EQ(Run({"info", "--cpu-target", "scalar"}), ExitCode::kOk);
  EXPECT_EQ(cpu_targets_.front(), "scalar");
  EXPECT_EQ(Run({"info", "--cpu-target", "scalar", "--address", "host:1"}), ExitCode::kUsage);
  EXPECT_THAT(err_.str(), HasSubstr("--cpu-target"));
}

TEST_F(RunCommandLineTest, SchemesShowsWhatEachNeedsAndPromises) {
  SchemeDescription toy;
  toy.scheme = {"toy", {}, 1};
  toy.summary = "A toy.";
  toy.byte_equal_to = "toylib 1.0";
  toy.error_bound = "half a step";
  toy.constraints = {"columns are a multiple of 8"};
  toy.overrides = {{"group_size", {"8", "16"}, "8"}, {"rounding", {"nearest"}, "nearest"}};
  toy.segments = {"codes", "scales"};
  toy.bits_per_weight = 4.5;
  client_->schemes = {toy};
  EXPECT_EQ(Run({"schemes"}), ExitCode::kOk);
  for (const char* line : {"toy  (4.500 bits/weight, revision 1)\n", "  byte-equal to toylib 1.0\n",
                           "  error: half a step\n", "  needs: columns are a multiple of 8\n",
                           "  segments: codes, scales\n", "  --set group_size=8|16  (default 8)\n"}) {
    EXPECT_THAT(out_.str(), HasSubstr(line));
  }
  EXPECT_THAT(out_.str(), ::testing::Not(HasSubstr("rounding"))) << "there is no choice";
  out_.str("");
  EXPECT_EQ(Run({"schemes", "--json"}), ExitCode::kOk);
  EXPECT_EQ(Json()["schemes"][0]["error_bound"], "half a step");
  EXPECT_EQ(Json()["schemes"][0]["constraints"][0], "columns are a multiple of 8");
  EXPECT_EQ(Json()["schemes"][0]["overrides"][0]["default"], "8");
  EXPECT_EQ(Json()["schemes"][0]["overrides"][1]["default"], "nearest");
}

TEST_F(RunCommandLineTest, AsksWhetherTheServerRunsWhenItIsOutOfReach) {
  MakeModel();
  client_->before_results = [](const FakeClient::Call&) { return absl::UnavailableError("connection refused"); };
  EXPECT_EQ(Run({"quantize", Path("in"), Path("out"), "--scheme", "bnb-nf4"}), ExitCode::kServer);
  EXPECT_THAT(err_.str(), HasSubstr("Is quantd running at --address?"));
}

TEST_F(RunCommandLineTest, LetsNoControlCharacterOfTheServerThrough) {
  client_->info.version = "1\x1b[2J";
  EXPECT_EQ(Run({"info"}), ExitCode::kOk);
  EXPECT_THAT(out_.str(), HasSubstr("version: 1\\x1b[2J\n"));
}

TEST_F(RunCommandLineTest, PrintsItsRelease) {
  EXPECT_EQ(Run({"--version"}), ExitCode::kOk);
  EXPECT_THAT(out_.str(), HasSubstr("quantctl "));
}

TEST_F(RunCommandLineTest, AShrunkFileIsAFileErrorWhateverTheCommandSays) {
  MakeModel();
  interruption_ = Interruption::kFileShrank;
  cancel_.Cancel();
  EXPECT_EQ(Run({"compare", Path("in"), Path("in")}), ExitCode::kFile);
  EXPECT_THAT(err_.str(), HasSubstr("became shorter"));
}

}  // namespace
}  // namespace quantd::cli
