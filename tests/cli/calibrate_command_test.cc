#include <cmath>
#include <fstream>

#include "client/cli/qcal_file.h"
#include "tests/cli/command_test.h"

namespace quantd::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string BytesOf(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

class CalibrateCommand : public CommandTest {
 protected:
  // A file with one tensor, calibrated by quantctl.
  void MakeQcal(const std::string& name, const std::string& tensor, const std::vector<float>& values) {
    MakeFile(name + ".safetensors", {{tensor, "F32", {values.size()}, BytesOf(values)}});
    client_->calibration = Calibration();
    ASSERT_EQ(Run({"calibrate", Path(name + ".safetensors"), "--out", Path(name + ".qcal")}), ExitCode::kOk)
        << err_.str();
  }

  std::string Contents(const std::string& name) {
    std::ifstream stream(Path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
};

TEST_F(CalibrateCommand, CalibratesTheFloatTensorsOfFilesAndWritesTheirStatistics) {
  MakeModel();
  ASSERT_EQ(Run({"calibrate", Path("in"), "--out", Path("out.qcal")}), ExitCode::kOk) << err_.str();
  EXPECT_THAT(out_.str(), StartsWith("2 tensors"));
  const auto calibration = ReadQcalFile(Path("out.qcal"));
  ASSERT_TRUE(calibration.ok()) << calibration.status();
  ASSERT_EQ(calibration->tensors.size(), 2u);
  EXPECT_EQ(calibration->tensors.at("w").Total().count, 200u);
  EXPECT_EQ(calibration->tensors.at("b").dtype(), DataType::kBFloat16);
}

TEST_F(CalibrateCommand, ASessionOfItsOwnIsSealedExportedAndDeleted) {
  MakeModel();
  ASSERT_EQ(Run({"calibrate", Path("in"), "--out", Path("out.qcal")}), ExitCode::kOk);
  const std::string id = client_->contributions.at(0).contribution.session_id;
  EXPECT_THAT(id, StartsWith("quantctl-"));
  EXPECT_THAT(client_->session_calls, ElementsAre("seal " + id, "export " + id, "delete " + id));
}

TEST_F(CalibrateCommand, ASharedSessionIsContributedToAndLeftThere) {
  MakeModel();
  ASSERT_EQ(Run({"calibrate", Path("in"), Path("in"), "--session", "run-1", "--contribution", "rank-3", "--set",
                 "collect=range", "--include", "w"}),
            ExitCode::kOk)
      << err_.str();
  ASSERT_EQ(client_->contributions.size(), 2u);
  EXPECT_EQ(client_->contributions[0].contribution.session_id, "run-1");
  EXPECT_EQ(client_->contributions[0].contribution.contribution_id, "rank-3/0");
  EXPECT_EQ(client_->contributions[1].contribution.contribution_id, "rank-3/1") << "each file is one";
  EXPECT_EQ(client_->contributions[0].contribution.configuration.at("collect"), "range");
  EXPECT_TRUE(client_->session_calls.empty());
}

TEST_F(CalibrateCommand, WhoSaysWhatIsExpectedDoesNotSeal) {
  MakeModel();
  ASSERT_EQ(Run({"calibrate", Path("in"), "--session", "run-1", "--contribution", "a", "--expect", "1", "--out",
                 Path("out.qcal")}),
            ExitCode::kOk);
  EXPECT_THAT(client_->session_calls, ElementsAre("export run-1"));
}

TEST_F(CalibrateCommand, PlainValuesComeFromStandardInput) {
  in_.str(BytesOf({1, -2, 3, 4}));
  ASSERT_EQ(
      Run({"calibrate", "--stdin", "--name", "x", "--dtype", "float32", "--shape", "2x2", "--out", Path("x.qcal")}),
      ExitCode::kOk)
      << err_.str();
  EXPECT_EQ(ReadQcalFile(Path("x.qcal"))->tensors.at("x").Total().lowest, -2);
}

TEST_F(CalibrateCommand, StandardInputMustHaveWhatTheShapeSays) {
  for (const size_t floats : {3u, 5u}) {
    in_.clear();
    in_.str(BytesOf(std::vector<float>(floats)));
    EXPECT_EQ(Run({"calibrate", "--stdin", "--name", "x", "--dtype", "float32", "--shape", "4", "--show"}),
              ExitCode::kFile);
    EXPECT_THAT(err_.str(), HasSubstr("--shape make 16"));
  }
}

TEST_F(CalibrateCommand, MergesFilesWithoutAServerToTheSameBytesInAnyOrder) {
  MakeQcal("a", "w", {1, 2});
  MakeQcal("b", "w", {-3});
  MakeQcal("c", "v", {5});
  addresses_.clear();
  ASSERT_EQ(Run({"calibrate", "--merge", Path("a.qcal"), Path("b.qcal"), Path("c.qcal"), "--out", Path("abc.qcal")}),
            ExitCode::kOk)
      << err_.str();
  ASSERT_EQ(Run({"calibrate", Path("c.qcal"), Path("b.qcal"), Path("a.qcal"), "--out", Path("cba.qcal")}),
            ExitCode::kOk)
      << err_.str();
  EXPECT_TRUE(addresses_.empty());
  EXPECT_EQ(Contents("abc.qcal"), Contents("cba.qcal"));
  const auto merged = ReadQcalFile(Path("abc.qcal"));
  EXPECT_EQ(merged->tensors.at("w").Total().count, 3u);
  EXPECT_EQ(merged->tensors.at("w").Total().lowest, -3);
}

TEST_F(CalibrateCommand, ShowsATableAndAHistogram) {
  MakeQcal("a", "layer.weight", {1, 1, 1, 2, -4, NAN});
  ASSERT_EQ(Run({"calibrate", Path("a.qcal"), "--show", "--tensor", "layer.weight"}), ExitCode::kOk) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("collect=distribution"));
  EXPECT_THAT(out_.str(), HasSubstr("layer.weight"));
  EXPECT_THAT(out_.str(), HasSubstr("█"));
  ASSERT_EQ(Run({"calibrate", Path("a.qcal"), "--json"}), ExitCode::kUsage) << "--json alone says no purpose";
  ASSERT_EQ(Run({"calibrate", Path("a.qcal"), "--show", "--json"}), ExitCode::kOk);
  const auto tensor = Json()["tensors"]["layer.weight"];
  EXPECT_EQ(tensor["count"], 6);
  EXPECT_EQ(tensor["nonfinite_count"], 1);
  EXPECT_EQ(tensor["min"], -4);
  EXPECT_EQ(tensor["absmax"], 4);
}

TEST_F(CalibrateCommand, ShowsTheRangeOfAMethod) {
  std::vector<float> values(1000, 1.f);
  values[0] = -1000.f;
  MakeQcal("a", "w", values);
  const std::vector<std::string> show = {"calibrate", Path("a.qcal"), "--show", "--json", "--range-method"};
  const auto with = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = show;
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  };
  ASSERT_EQ(Run(with({"minmax", "--asymmetric"})), ExitCode::kOk) << err_.str();
  EXPECT_EQ(Json()["tensors"]["w"]["ranges"], nlohmann::json::parse("[[-1000.0, 1.0]]"));
  ASSERT_EQ(Run(with({"percentile", "--percentile", "99"})), ExitCode::kOk) << err_.str();
  EXPECT_LT(Json()["tensors"]["w"]["ranges"][0][1], 1.01);
  EXPECT_EQ(Run(with({"guess"})), ExitCode::kUsage);
  EXPECT_EQ(Run({"calibrate", Path("a.qcal"), "--show", "--target", "int4"}), ExitCode::kUsage);
  ASSERT_EQ(Run({"calibrate", Path("a.qcal"), "--show", "--range-method", "minmax"}), ExitCode::kOk) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("-1000 to 1000"));
}

TEST_F(CalibrateCommand, DrawsAnSvg) {
  MakeQcal("a", "w<1>", {1, 2, 3});
  ASSERT_EQ(Run({"calibrate", Path("a.qcal"), "--plot", Path("w.svg")}), ExitCode::kOk) << err_.str();
  EXPECT_THAT(Contents("w.svg"), StartsWith("<svg xmlns="));
  EXPECT_THAT(Contents("w.svg"), HasSubstr("w&lt;1&gt;"));
}

TEST_F(CalibrateCommand, DrawsAPng) {
  MakeQcal("a", "w", {1, 2, 3, 3, 3});
  ASSERT_EQ(Run({"calibrate", Path("a.qcal"), "--plot", Path("w.png")}), ExitCode::kOk) << err_.str();
  const std::string png = Contents("w.png");
  EXPECT_THAT(png, StartsWith("\x89PNG\r\n\x1a\n"));
  EXPECT_THAT(png, HasSubstr("IEND"));
}

TEST_F(CalibrateCommand, AFileThatIsNoneIsNamed) {
  std::ofstream(Path("bad.qcal")) << "not a calibration";
  EXPECT_EQ(Run({"calibrate", Path("bad.qcal"), "--show"}), ExitCode::kFile);
  EXPECT_THAT(err_.str(), HasSubstr("bad.qcal"));
  EXPECT_THAT(err_.str(), HasSubstr("MALFORMED_QCAL"));
}

TEST_F(CalibrateCommand, AMovingAverageIsRefusedBeforeAnythingIsSent) {
  MakeModel();
  EXPECT_EQ(Run({"calibrate", Path("in"), "--set", "collect=moving_average", "--show"}), ExitCode::kUsage);
  EXPECT_THAT(err_.str(), HasSubstr("cannot be merged"));
  EXPECT_TRUE(client_->contributions.empty());
}

TEST_F(CalibrateCommand, OneSourceAndOnePurpose) {
  MakeModel();
  MakeQcal("a", "w", {1});
  EXPECT_EQ(Run({"calibrate", "--show"}), ExitCode::kUsage);
  EXPECT_EQ(Run({"calibrate", Path("in")}), ExitCode::kUsage);
  EXPECT_EQ(Run({"calibrate", Path("in"), Path("a.qcal"), "--show"}), ExitCode::kUsage);
  EXPECT_EQ(Run({"calibrate", Path("in"), "--stdin", "--show"}), ExitCode::kUsage);
  EXPECT_EQ(Run({"calibrate", Path("in"), "--session", "s"}), ExitCode::kUsage);
  EXPECT_EQ(Run({"calibrate", Path("in"), "--contribution", "c", "--show"}), ExitCode::kUsage);
}

// ---- quantize --calibration ----

TEST_F(CalibrateCommand, QuantizeTakesTheRangeOfEachTensor) {
  MakeQcal("a", "w", {1, -6, 2});
  MakeFile("model", {{"w", "F32", {2}, BytesOf({1, 2})}});
  ASSERT_EQ(Run({"quantize", Path("model"), Path("out"), "--scheme", "int8", "--set", "grouping=tensor",
                 "--calibration", Path("a.qcal")}),
            ExitCode::kOk)
      << err_.str();
  EXPECT_EQ(client_->calls.back().options.statistics.amax, 6.f);
  ASSERT_EQ(Run({"quantize", Path("model"), Path("out"), "--scheme", "int8-asym", "--set", "grouping=tensor",
                 "--calibration", Path("a.qcal")}),
            ExitCode::kOk)
      << err_.str();
  EXPECT_EQ(client_->calls.back().options.statistics.min, -6.f);
  EXPECT_EQ(client_->calls.back().options.statistics.max, 2.f);
}

TEST_F(CalibrateCommand, QuantizeWithAMethodTakesANarrowerRange) {
  std::vector<float> values(1000, 1.f);
  values[0] = 1000.f;
  MakeQcal("a", "w", values);
  MakeFile("model", {{"w", "F32", {2}, BytesOf({1, 2})}});
  ASSERT_EQ(Run({"quantize", Path("model"), Path("out"), "--scheme", "int8", "--set", "grouping=tensor",
                 "--calibration", Path("a.qcal"), "--range-method", "percentile", "--percentile", "99"}),
            ExitCode::kOk)
      << err_.str();
  EXPECT_LT(*client_->calls.back().options.statistics.amax, 1.01f);
}

TEST_F(CalibrateCommand, QuantizeRefusesATensorThatWasNotCalibrated) {
  MakeQcal("a", "other", {1});
  MakeFile("model", {{"w", "F32", {2}, BytesOf({1, 2})}});
  EXPECT_EQ(Run({"quantize", Path("model"), Path("out"), "--scheme", "int8", "--set", "grouping=tensor",
                 "--calibration", Path("a.qcal")}),
            ExitCode::kUsage);
  EXPECT_THAT(err_.str(), HasSubstr("'w'"));
  EXPECT_EQ(Run({"quantize", Path("model"), Path("out"), "--scheme", "bnb-nf4", "--calibration", Path("a.qcal")}),
            ExitCode::kOk)
      << "a scheme without such a range needs none";
  EXPECT_EQ(Run({"quantize", Path("model"), Path("out"), "--scheme", "int8", "--range-method", "mse"}),
            ExitCode::kUsage);
}

}  // namespace
}  // namespace quantd::cli
