#include "client/cli/bench_command.h"

#include "tests/cli/command_test.h"

namespace quantd::cli {
namespace {

using ::testing::HasSubstr;

// The time of a call is what it says it takes.
class FakeEcho final : public EchoBaseline {
 public:
  FakeEcho(ManualClock& clock, EchoSettings settings) : clock_(clock), settings_(settings) {}
  absl::Status Stream(std::span<const std::byte> bytes, uint64_t message_bytes, uint64_t) override {
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
};

class FakePeers final : public BenchPeers {
 public:
  FakePeers(ManualClock& clock, bool wrong) : clock_(clock), wrong_(wrong) {}
  absl::StatusOr<std::unique_ptr<Client>> NewClient(uint32_t) override { return MakeClient(wrong_); }
  absl::StatusOr<std::shared_ptr<Client>> Reference() override { return std::shared_ptr<Client>(MakeClient(false)); }
  absl::StatusOr<std::unique_ptr<EchoBaseline>> StartEcho(const EchoSettings& settings) override {
    return std::make_unique<FakeEcho>(clock_, settings);
  }

 private:
  std::unique_ptr<FakeClient> MakeClient(bool wrong) {
    auto client = std::make_unique<FakeClient>();
    if (wrong) {
      client->alter = [](std::vector<SegmentLayout>& outputs) { outputs[0].name += "2"; };
    }
    client->after_results = [this](const FakeClient::Call& call) {
      clock_.now += call.shape[0] > 1 ? absl::Milliseconds(4) : absl::Microseconds(200);
      return absl::OkStatus();
    };
    return client;
  }
  ManualClock& clock_;
  const bool wrong_;
};

class BenchCommandTest : public CommandTest {
 protected:
  ExitCode RunBench(bool wrong, const std::vector<std::string>& arguments = {}) {
    bench_peers_ = [this, wrong](const ServerChoice&) -> absl::StatusOr<std::unique_ptr<BenchPeers>> {
      return std::make_unique<FakePeers>(clock_, wrong);
    };
    std::vector<std::string> all = {"bench", "--tensor-mib",    "2", "--connections", "1", "--small-calls",
                                    "3",     "--small-tensors", "5"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return Run(all);
  }
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

TEST_F(BenchCommandTest, SaysWhatIsWrongWithTheScheme) {
  EXPECT_EQ(RunBench(false, {"--set", "block_size"}), ExitCode::kUsage);
  EXPECT_NE(RunBench(false, {"--scheme", "none-such"}), ExitCode::kOk);
  EXPECT_THAT(err_.str(), HasSubstr("none-such"));
}

}  // namespace
}  // namespace quantd::cli
