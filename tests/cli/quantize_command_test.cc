#include "client/cli/quantize_command.h"

#include <limits>

#include "client/cli/metadata.h"
#include "kernels/base/error.h"
#include "tests/cli/command_test.h"

namespace quantd::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

class QuantizeCommand : public CommandTest {
 protected:
  QuantizeCommand() { MakeModel(); }

  ExitCode Quantize(std::vector<std::string> more = {}) {
    std::vector<std::string> arguments{"quantize", Path("in"), Path("out"), "--scheme", "bnb-nf4"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Run(arguments);
  }

  std::vector<std::string> CalledNames() const {
    std::vector<std::string> names;
    for (const FakeClient::Call& call : client_->calls) names.push_back(call.name);
    return names;
  }

  // Of `w`'s 100 columns, each with the values 1 and 2.
  void CalibrateColumns() {
    const StatisticsConfig config{
        .grouping = StatisticsGrouping::kChannel, .collection = StatisticsCollection::kImportance, .axis = -1};
    const std::vector<uint64_t> shape = {2, 100};
    auto statistics = TensorStatistics::Make(config, DataType::kFloat32, shape);
    ASSERT_TRUE(statistics.ok()) << statistics.status();
    std::vector<float> values(200, 1.0f);
    std::fill(values.begin() + 100, values.end(), 2.0f);
    statistics->Add(0, std::as_bytes(std::span(values)));
    Calibration calibration{.config = config, .tensors = {}};
    calibration.tensors.emplace("w", *std::move(statistics));
    const std::vector<std::byte> bytes = ToQcal(calibration);
    WriteFile(Path("columns.qcal"), std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  }

  void ExpectNoOutput() { EXPECT_THAT(folder_.Names(), Not(::testing::Contains(HasSubstr("out")))); }
};

TEST_F(QuantizeCommand, ConvertsEveryFloatTensorAndCopiesTheRest) {
  ASSERT_EQ(Quantize(), ExitCode::kOk) << err_.str();
  EXPECT_THAT(CalledNames(), UnorderedElementsAre("w", "b"));
  const auto out = Open("out");
  EXPECT_EQ(Text(*out, "w.codes"), Pattern(100));
  EXPECT_EQ(Text(*out, "w.scales"), Pattern(4 * 4));
  EXPECT_EQ(Text(*out, "b.codes"), Pattern(2));
  EXPECT_EQ(Text(*out, "ids"), "0123456789abcdef");
  EXPECT_EQ(out->Find("w"), nullptr);
  EXPECT_EQ(out->tensors().size(), 5u);
}

TEST_F(QuantizeCommand, KeepsTheResolvedSchemeTypeAndShapeInTheMetadata) {
  ASSERT_EQ(Quantize({"--set", "block_size=128"}), ExitCode::kOk) << err_.str();
  const auto metadata = Open("out")->metadata();
  EXPECT_EQ(metadata.at("format"), "pt");
  const auto converted = ParseMetadata(metadata.at("quantd"));
  ASSERT_TRUE(converted.ok()) << converted.status();
  const ConvertedTensor& w = converted->at("w");
  EXPECT_EQ(w.scheme.preset, "bnb-nf4");
  EXPECT_EQ(w.scheme.overrides.at("block_size"), "128");
  EXPECT_EQ(w.scheme.overrides.at("double_quant"), "false");
  EXPECT_EQ(w.scheme.format_revision, 1u);
  EXPECT_EQ(w.dtype, DataType::kFloat32);
  EXPECT_THAT(w.shape, ElementsAre(2, 100));
  EXPECT_EQ(converted->at("b").dtype, DataType::kBFloat16);
}

TEST_F(QuantizeCommand, ConvertsOnlyWhatIsIncluded) {
  ASSERT_EQ(Quantize({"--include", "^w$"}), ExitCode::kOk) << err_.str();
  EXPECT_THAT(CalledNames(), ElementsAre("w"));
  EXPECT_EQ(Text(*Open("out"), "b"), "bbbbbb");
}

TEST_F(QuantizeCommand, AddsToAFileThatIsPartlyQuantizedAndLeavesItsSegmentsAlone) {
  ASSERT_EQ(Quantize({"--include", "w"}), ExitCode::kOk) << err_.str();
  client_->calls.clear();
  ASSERT_EQ(Run({"quantize", Path("out"), Path("both"), "--scheme", "bnb-fp4"}), ExitCode::kOk) << err_.str();
  EXPECT_THAT(CalledNames(), ElementsAre("b"));
  const auto converted = ParseMetadata(Open("both")->metadata().at("quantd"));
  ASSERT_TRUE(converted.ok());
  EXPECT_EQ(converted->at("w").scheme.preset, "bnb-nf4");
  EXPECT_EQ(converted->at("b").scheme.preset, "bnb-fp4");
}

TEST_F(QuantizeCommand, MayReplaceItsInput) {
  ASSERT_EQ(Run({"quantize", Path("in"), Path("in"), "--scheme", "bnb-nf4"}), ExitCode::kOk) << err_.str();
  EXPECT_EQ(Text(*Open("in"), "ids"), "0123456789abcdef");
}

TEST_F(QuantizeCommand, GivesTheOptionsToTheClient) {
  ASSERT_EQ(Quantize({"--address", "host:1", "--message-bytes", "1", "--timeout", "90s", "--include", "w"}),
            ExitCode::kOk)
      << err_.str();
  EXPECT_THAT(addresses_, ElementsAre("host:1"));
  const CallOptions& options = client_->calls.front().options;
  EXPECT_EQ(options.frame_data_bytes, 1u);
  EXPECT_EQ(options.timeout, absl::Seconds(90));
  EXPECT_EQ(options.cancel, &cancel_);
}

TEST_F(QuantizeCommand, SpendsOneTimeoutOnAllTensors) {
  client_->after_results = [this](const FakeClient::Call&) {
    clock_.now += absl::Seconds(60);
    return absl::OkStatus();
  };
  ASSERT_EQ(Quantize({"--timeout", "90s"}), ExitCode::kServer);
  EXPECT_EQ(client_->calls.back().options.timeout, absl::Seconds(30));
  EXPECT_THAT(err_.str(), HasSubstr("--timeout is over"));
  ExpectNoOutput();
}

TEST_F(QuantizeCommand, SendsTheOffsetOfTheParams) {
  WriteFile(Path("params"), R"({"w": {"offset": 0.5}})");
  ASSERT_EQ(Quantize({"--set", "double_quant=true", "--params", Path("params")}), ExitCode::kOk) << err_.str();
  for (const FakeClient::Call& call : client_->calls) {
    EXPECT_EQ(call.options.statistics.offset, call.name == "w" ? std::optional<float>(0.5f) : std::nullopt);
  }
}

TEST_F(QuantizeCommand, FindsTheRangeOfAPerTensorSchemeItself) {
  MakeFile("in", {{"w", "F32", {2}, std::string("\0\0\x80\x3f\0\0\0\xc0", 8)}});  // 1, -2
  ASSERT_EQ(Run({"quantize", Path("in"), Path("out"), "--scheme", "int8", "--set", "grouping=tensor"}), ExitCode::kOk)
      << err_.str();
  EXPECT_EQ(client_->calls.back().options.statistics.amax, 2.0f);
  ASSERT_EQ(Run({"quantize", Path("in"), Path("out"), "--scheme", "int8-asym", "--set", "grouping=tensor"}),
            ExitCode::kOk)
      << err_.str();
  EXPECT_EQ(client_->calls.back().options.statistics.min, -2.0f);
  EXPECT_EQ(client_->calls.back().options.statistics.max, 1.0f);
}

TEST_F(QuantizeCommand, LeavesNonfiniteValuesAndKnownStatisticsToTheServer) {
  MakeFile("in", {{"w", "F32", {2}, std::string("\0\0\x80\x7f\0\0\0\xc0", 8)}});  // infinity, -2
  const std::vector<std::string> command{"quantize", Path("in"), Path("out"),      "--scheme",
                                         "int8",     "--set",    "grouping=tensor"};
  ASSERT_EQ(Run(command), ExitCode::kOk) << err_.str();
  EXPECT_EQ(client_->calls.back().options.statistics.amax, std::nullopt);
  WriteFile(Path("params"), R"({"w": {"amax": 0.5}})");
  std::vector<std::string> with_params = command;
  with_params.insert(with_params.end(), {"--params", Path("params")});
  ASSERT_EQ(Run(with_params), ExitCode::kOk) << err_.str();
  EXPECT_EQ(client_->calls.back().options.statistics.amax, 0.5f);
}

TEST_F(QuantizeCommand, NamesTheTypesOfSegmentsAsSafetensorsDoes) {
  MakeFile("in", {{"w", "F32", {2, 128}, std::string(1024, '\x01')}});
  const auto dtype_of = [&](const std::string& scheme, const std::string& tensor) {
    EXPECT_EQ(Run({"quantize", Path("in"), Path("out"), "--scheme", scheme}), ExitCode::kOk) << err_.str();
    return std::string(Open("out")->Find(tensor)->dtype.name);
  };
  EXPECT_EQ(dtype_of("int8", "w.codes"), "I8");
  EXPECT_EQ(dtype_of("fp8-e4m3", "w.codes"), "F8_E4M3");
  EXPECT_EQ(dtype_of("fp8-e5m2", "w.codes"), "F8_E5M2");
  EXPECT_EQ(dtype_of("ct-w4a16", "w.codes"), "I32");
  EXPECT_EQ(dtype_of("ct-w4a16", "w.weight_shape"), "I64");
}

TEST_F(QuantizeCommand, ReportsErrorMetricsIfAskedTo) {
  client_->summary.errors = ErrorMetrics{200, 0.00125, 0.25, 21.5};
  ASSERT_EQ(Quantize({"--include", "w", "--metrics"}), ExitCode::kOk) << err_.str();
  EXPECT_TRUE(client_->calls.back().options.error_metrics);
  EXPECT_THAT(out_.str(), ::testing::ContainsRegex("MSE +max error +SNR dB"));
  EXPECT_THAT(out_.str(), ::testing::ContainsRegex("0.00125 +0.25 +21.50"));
  out_.str("");
  ASSERT_EQ(Quantize({"--include", "w", "--metrics", "--json"}), ExitCode::kOk) << err_.str();
  EXPECT_EQ(Json()["tensors"][0]["errors"]["count"], 200);
  EXPECT_EQ(Json()["tensors"][0]["errors"]["mean_squared_error"], 0.00125);
  EXPECT_EQ(Json()["tensors"][0]["errors"]["max_error"], 0.25);
  EXPECT_EQ(Json()["tensors"][0]["errors"]["snr_db"], 21.5);
}

TEST_F(QuantizeCommand, AnInfiniteSnrIsNullInJson) {
  client_->summary.errors = ErrorMetrics{200, 0, 0, std::numeric_limits<double>::infinity()};
  ASSERT_EQ(Quantize({"--include", "w", "--metrics", "--json"}), ExitCode::kOk) << err_.str();
  EXPECT_TRUE(Json()["tensors"][0]["errors"]["snr_db"].is_null());
}

TEST_F(QuantizeCommand, WithoutMetricsThereAreNone) {
  ASSERT_EQ(Quantize({"--include", "w"}), ExitCode::kOk) << err_.str();
  EXPECT_FALSE(client_->calls.back().options.error_metrics);
  EXPECT_THAT(out_.str(), Not(HasSubstr("SNR")));
}

TEST_F(QuantizeCommand, ATensorThatDoesNotSuitTheSchemeIsNamedWithTheRemedy) {
  EXPECT_EQ(Run({"quantize", Path("in"), Path("out"), "--scheme", "mxfp4"}), ExitCode::kUsage);
  EXPECT_THAT(err_.str(), HasSubstr("tensor 'w'"));
  EXPECT_THAT(err_.str(), HasSubstr("--include"));
  EXPECT_THAT(err_.str(), HasSubstr("INVALID_SHAPE"));
}

TEST_F(QuantizeCommand, RefusesParamsThatFitNothing) {
  WriteFile(Path("params"), R"({"nobody": {"offset": 0.5}})");
  EXPECT_EQ(Quantize({"--set", "double_quant=true", "--params", Path("params")}), ExitCode::kUsage);
  EXPECT_THAT(err_.str(), HasSubstr("'nobody'"));
  WriteFile(Path("params"), R"({"w": {"offset": 0.5}})");
  EXPECT_EQ(Quantize({"--params", Path("params")}), ExitCode::kUsage);
  EXPECT_THAT(err_.str(), HasSubstr("UNUSED_STATISTIC"));
  EXPECT_EQ(Quantize({"--params", Path("missing")}), ExitCode::kFile);
  EXPECT_THAT(client_->calls, IsEmpty());
}

TEST_F(QuantizeCommand, RefusesSchemesAndOptionsBeforeItTouchesAnything) {
  const std::vector<std::vector<std::string>> refused = {
      {"--set", "block_size"},
      {"--set", "=1"},
      {"--set", "block_size=64", "--set", "block_size=64"},
      {"--set", "block_size=7"},
      {"--set", "no_such=1"},
      {"--message-bytes", "0"},
      {"--message-bytes", "4128769"},
      {"--timeout", "0s"},
      {"--timeout", "soon"},
      {"--include", "("},
      {"--include", "nothing"},
      {"--min-rank", "3"},
      {"--no-such-option"},
  };
  for (const auto& options : refused) {
    EXPECT_EQ(Quantize(options), ExitCode::kUsage) << options.front();
    EXPECT_FALSE(err_.str().empty());
  }
  EXPECT_EQ(Run({"quantize", Path("in"), Path("out"), "--scheme", "no-such"}), ExitCode::kUsage);
  EXPECT_THAT(err_.str(), HasSubstr("UNKNOWN_SCHEME"));
  EXPECT_EQ(Run({"quantize", Path("in"), Path("out")}), ExitCode::kUsage);
  EXPECT_THAT(client_->calls, IsEmpty());
  ExpectNoOutput();
}

TEST_F(QuantizeCommand, SetTakesOneValueSoThatFilesMayFollow) {
  ASSERT_EQ(Run({"quantize", "--scheme", "bnb-nf4", "--set", "block_size=32", Path("in"), Path("out")}), ExitCode::kOk)
      << err_.str();
}

TEST_F(QuantizeCommand, RefusesNamesThatClash) {
  MakeFile("in", {{"w", "F32", {1}, "1234"}, {"w.codes", "U8", {1}, "x"}});
  EXPECT_EQ(Quantize(), ExitCode::kUsage);
  EXPECT_THAT(err_.str(), HasSubstr("'w.codes'"));
  ExpectNoOutput();
}

TEST_F(QuantizeCommand, SaysWhichFileCannotBeUsed) {
  EXPECT_EQ(Run({"quantize", Path("none"), Path("out"), "--scheme", "bnb-nf4"}), ExitCode::kFile);
  EXPECT_THAT(err_.str(), HasSubstr("none"));
  WriteFile(Path("broken"), "x");
  EXPECT_EQ(Run({"quantize", Path("broken"), Path("out"), "--scheme", "bnb-nf4"}), ExitCode::kFile);
  EXPECT_EQ(Run({"quantize", Path("in"), Path("none/out"), "--scheme", "bnb-nf4"}), ExitCode::kFile);
}

TEST_F(QuantizeCommand, ReportsWhatTheServerRefusesAndLeavesNothing) {
  client_->after_results = [](const FakeClient::Call&) {
    return MakeError(absl::StatusCode::kInvalidArgument, "NONFINITE_INPUT", "element 3 is NaN");
  };
  EXPECT_EQ(Quantize(), ExitCode::kServer);
  EXPECT_THAT(err_.str(), HasSubstr("tensor 'w': element 3 is NaN [NONFINITE_INPUT]"));
  ExpectNoOutput();
}

TEST_F(QuantizeCommand, PrintsErrorsAsJson) {
  client_->after_results = [](const FakeClient::Call&) {
    return MakeError(absl::StatusCode::kInvalidArgument, "NONFINITE_INPUT", "bad", {{"element", "3"}});
  };
  EXPECT_EQ(Quantize({"--json"}), ExitCode::kServer);
  EXPECT_EQ(Json()["error"]["code"], "INVALID_ARGUMENT");
  EXPECT_EQ(Json()["error"]["reason"], "NONFINITE_INPUT");
  EXPECT_EQ(Json()["error"]["metadata"]["element"], "3");
  EXPECT_EQ(Json()["exit_code"], 4);
}

TEST_F(QuantizeCommand, RefusesAServerThatMakesOtherSegments) {
  client_->alter = [](std::vector<SegmentLayout>& outputs) { outputs.front().bytes += 1; };
  EXPECT_EQ(Quantize(), ExitCode::kServer);
  EXPECT_THAT(err_.str(), HasSubstr("same release on both sides"));
  ExpectNoOutput();
}

TEST_F(QuantizeCommand, CtrlCLeavesNothing) {
  client_->before_results = [this](const FakeClient::Call&) {
    cancel_.Cancel();
    interruption_ = Interruption::kSignal;
    return absl::CancelledError("cancelled");
  };
  EXPECT_EQ(Quantize(), ExitCode::kInterrupted);
  ExpectNoOutput();
}

TEST_F(QuantizeCommand, CtrlCAfterTheLastResultLeavesNothingEither) {
  client_->after_results = [this](const FakeClient::Call&) {
    cancel_.Cancel();
    interruption_ = Interruption::kSignal;
    return absl::OkStatus();
  };
  EXPECT_EQ(Quantize(), ExitCode::kInterrupted);
  ExpectNoOutput();
}

TEST_F(QuantizeCommand, AnInputThatChangesIsAFileError) {
  client_->after_results = [this](const FakeClient::Call&) {
    std::filesystem::resize_file(Path("in"), 100);
    return absl::OkStatus();
  };
  EXPECT_EQ(Quantize({"--include", "w"}), ExitCode::kFile);
  EXPECT_THAT(err_.str(), HasSubstr("was changed while it was read"));
  ExpectNoOutput();
}

TEST_F(QuantizeCommand, SumsUpInATable) {
  client_->after_results = [this](const FakeClient::Call&) {
    clock_.now += absl::Seconds(1);
    return absl::OkStatus();
  };
  ASSERT_EQ(Quantize(), ExitCode::kOk) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("w           float32   2x100        4.640  800 B  116 B"));
  EXPECT_THAT(out_.str(), HasSubstr("total of 2"));
  EXPECT_THAT(out_.str(), HasSubstr("1 copied unchanged (16 B)"));
}

TEST_F(QuantizeCommand, SumsUpAsJson) {
  client_->after_results = [this](const FakeClient::Call&) {
    clock_.now += absl::Seconds(2);
    return absl::OkStatus();
  };
  ASSERT_EQ(Quantize({"--include", "w", "--json"}), ExitCode::kOk) << err_.str();
  const nlohmann::json tensor = Json()["tensors"][0];
  EXPECT_EQ(tensor["name"], "w");
  EXPECT_EQ(tensor["shape"], nlohmann::json({2, 100}));
  EXPECT_EQ(tensor["scheme"]["overrides"]["block_size"], "64");
  EXPECT_EQ(tensor["bytes_in"], 800);
  EXPECT_EQ(tensor["bytes_out"], 116);
  EXPECT_DOUBLE_EQ(tensor["bits_per_weight"], 4.64);
  EXPECT_DOUBLE_EQ(tensor["gb_per_s"], 400e-9);
  EXPECT_THAT(Json()["copied"], UnorderedElementsAre("b", "ids"));
  EXPECT_EQ(Json()["output_file_bytes"], std::filesystem::file_size(Path("out")));
}

// `count` float32 from `first` on, as a file has them.
std::string Floats(float first, size_t count) {
  std::string bytes;
  for (size_t i = 0; i < count; ++i) {
    const float value = first + static_cast<float>(i);
    bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  return bytes;
}

TEST_F(QuantizeCommand, SendsTheSmoothingFactorsOfEachTensorOrOfAll) {
  MakeFile("factors", {{"w", "F32", {100}, Floats(1, 100)}, {"smoothing_factors", "F32", {3}, Floats(7, 3)}});
  ASSERT_EQ(Quantize({"--smoothing-factors", Path("factors")}), ExitCode::kOk) << err_.str();
  for (const FakeClient::Call& call : client_->calls) {
    EXPECT_EQ(call.smoothing_factors.size(), call.name == "w" ? 100u : 3u);
    EXPECT_EQ(call.smoothing_factors.front(), call.name == "w" ? 1 : 7);
  }
}

TEST_F(QuantizeCommand, SendsTheImportanceOfACalibrationsChannels) {
  CalibrateColumns();
  ASSERT_EQ(Run({"quantize", Path("in"), Path("out"), "--scheme", "int8", "--set", "range=mse", "--include", "^w$",
                 "--importance", Path("columns.qcal")}),
            ExitCode::kOk)
      << err_.str();
  ASSERT_EQ(client_->calls.size(), 1u);
  EXPECT_EQ(client_->calls[0].importance, std::vector<float>(100, 2.5f));  // (1 + 4) / 2
}

TEST_F(QuantizeCommand, RefusesFactorsThatDoNotFit) {
  MakeFile("factors", {{"w", "F32", {99}, Floats(1, 99)}});
  EXPECT_EQ(Quantize({"--include", "^w$", "--smoothing-factors", Path("factors")}), ExitCode::kUsage);
  EXPECT_THAT(err_.str(), HasSubstr("99"));
  EXPECT_EQ(Quantize({"--include", "^b$", "--smoothing-factors", Path("factors")}), ExitCode::kUsage);
  EXPECT_THAT(err_.str(), HasSubstr("choose with --include"));
  MakeFile("columns", {{"w", "F32", {100}, Floats(1, 100)}});
  EXPECT_EQ(Quantize({"--include", "^w$", "--importance", Path("columns")}), ExitCode::kUsage);
  EXPECT_THAT(err_.str(), HasSubstr("range=mse"));
  ExpectNoOutput();
}

}  // namespace
}  // namespace quantd::cli
