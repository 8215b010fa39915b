#include "client/cli/bench_command.h"

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/cli/command_test.h"

namespace quantd::cli {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kBulkMessageBytesMin = 64 << 10;

// Whether large tensors had an owner, and large messages of the echoes.
struct Lent {
  std::set<bool> quantd, echo;
};

// The time of a call is what it says it takes.
class FakeEcho final : public EchoBaseline {
 public:
  FakeEcho(ManualClock& clock, EchoSettings settings, Lent& lent) : clock_(clock), settings_(settings), lent_(lent) {}
  absl::Status Stream(std::span<const std::byte> bytes, uint64_t message_bytes, uint64_t,
                      const std::shared_ptr<const void>& owner) override {
    if (message_bytes >= kBulkMessageBytesMin) lent_.echo.insert(owner != nullptr);
    EXPECT_GT(message_bytes, 0u);
    EXPECT_EQ(bytes.size() % message_bytes, 0u);
    clock_.now += absl::Milliseconds(settings_.gathers_and_checks ? 2 : 1);
    return absl::OkStatus();
  }
  absl::Status Exchange(std::span<const std::byte>) override {
    clock_.now += absl::Microseconds(100);
    return absl::OkStatus();
  }

 private:
  ManualClock& clock_;
  const EchoSettings settings_;
  Lent& lent_;
};

class FakePeers final : public BenchPeers {
 public:
  FakePeers(ManualClock& clock, bool wrong, Lent& lent) : clock_(clock), wrong_(wrong), lent_(lent) {}
  absl::StatusOr<std::unique_ptr<Client>> NewClient(uint32_t) override { return MakeClient(wrong_, true); }
  absl::StatusOr<std::shared_ptr<Client>> Reference() override {
    return std::shared_ptr<Client>(MakeClient(false, false));
  }
  absl::StatusOr<std::unique_ptr<EchoBaseline>> StartEcho(const EchoSettings& settings) override {
    return std::make_unique<FakeEcho>(clock_, settings, lent_);
  }

 private:
  std::unique_ptr<FakeClient> MakeClient(bool wrong, bool is_measured) {
    auto client = std::make_unique<FakeClient>();
    if (wrong) {
      client->alter = [](std::vector<SegmentLayout>& outputs) { outputs[0].name += "2"; };
    }
    client->after_results = [this, is_measured](const FakeClient::Call& call) {
      if (is_measured && call.shape[0] > 1) lent_.quantd.insert(call.options.memory_owner != nullptr);
      clock_.now += call.shape[0] > 1 ? absl::Milliseconds(4) : absl::Microseconds(200);
      return absl::OkStatus();
    };
    return client;
  }
  ManualClock& clock_;
  const bool wrong_;
  Lent& lent_;
};

class BenchCommandTest : public CommandTest {
 protected:
  ExitCode RunBench(bool wrong, const std::vector<std::string>& arguments = {}) {
    bench_peers_ = [this, wrong](const ServerChoice&) -> absl::StatusOr<std::unique_ptr<BenchPeers>> {
      return std::make_unique<FakePeers>(clock_, wrong, lent_);
    };
    std::vector<std::string> all = {"bench", "--tensor-mib",    "2", "--connections", "1", "--small-calls",
                                    "3",     "--small-tensors", "5"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return Run(all);
  }
  Lent lent_;
};

TEST_F(BenchCommandTest, ReportsRatesAsSharesOfTheEchoes) {
  ASSERT_EQ(RunBench(false, {"--json"}), ExitCode::kOk) << err_.str();
  const auto report = Json();
  ASSERT_EQ(report["bulk"].size(), 2u);
  for (const auto& row : report["bulk"]) {
    EXPECT_EQ(row["connections"], 1);
    EXPECT_NEAR(row["values_gb_per_s"].get<double>() / row["raw_echo_gb_per_s"].get<double>(), 0.25, 1e-9);
    EXPECT_NEAR(row["values_gb_per_s"].get<double>() / row["checking_echo_gb_per_s"].get<double>(), 0.5, 1e-9);
  }
  EXPECT_NEAR(report["small_tensor_latency"]["p50_us"].get<double>(), 200, 1e-6);
  EXPECT_NEAR(report["echo_latency"]["p99_us"].get<double>(), 100, 1e-6);
  EXPECT_NEAR(report["small_tensors_per_s"].get<double>(), 5000, 1e-6);
}

TEST_F(BenchCommandTest, PrintsATable) {
  ASSERT_EQ(RunBench(false), ExitCode::kOk) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("dequantize"));
  EXPECT_THAT(out_.str(), HasSubstr("0.25"));
}

TEST_F(BenchCommandTest, RefusesToReportOfWrongResults) {
  EXPECT_NE(RunBench(true), ExitCode::kOk);
  EXPECT_THAT(err_.str(), HasSubstr("did not come"));
  EXPECT_EQ(out_.str(), "");
}

TEST_F(BenchCommandTest, AnInterruptionEndsItBetweenTwoCalls) {
  cancel_.Cancel();
  EXPECT_NE(RunBench(false), ExitCode::kOk);
  EXPECT_EQ(out_.str(), "");
}

TEST_F(BenchCommandTest, LendsOnlyWhatItIsTold) {
  struct Case {
    std::vector<std::string> arguments;
    std::set<bool> quantd, echo;
  };
  // One call makes the codes that are dequantized; it is not measured, and copies.
  const Case cases[] = {{{}, {false}, {false}},
                        {{"--lend", "none"}, {false}, {false}},
                        {{"--lend", "quantd"}, {false, true}, {false}},
                        {{"--lend", "both"}, {false, true}, {true}}};
  for (const Case& one : cases) {
    lent_ = {};
    ASSERT_EQ(RunBench(false, one.arguments), ExitCode::kOk) << err_.str();
    EXPECT_EQ(lent_.quantd, one.quantd);
    EXPECT_EQ(lent_.echo, one.echo);
  }
  EXPECT_EQ(RunBench(false, {"--lend", "echo"}), ExitCode::kUsage);
}

TEST_F(BenchCommandTest, SaysWhatIsWrongWithTheScheme) {
  EXPECT_EQ(RunBench(false, {"--set", "block_size"}), ExitCode::kUsage);
  EXPECT_NE(RunBench(false, {"--scheme", "none-such"}), ExitCode::kOk);
  EXPECT_THAT(err_.str(), HasSubstr("none-such"));
}

}  // namespace
}  // namespace quantd::cli
