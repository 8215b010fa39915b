#include "client/cli/smooth_command.h"

#include <cmath>
#include <cstring>
#include <random>

#include "client/cli/qcal_file.h"
#include "kernels/calibrate/calibration_file.h"
#include "tests/cli/command_test.h"

namespace quantd::cli {
namespace {

using ::testing::HasSubstr;

std::string BytesOf(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}
std::vector<float> ValuesOf(const std::string& bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

// X · W^T of rows of `columns`.
std::vector<double> Product(const std::vector<float>& x, const std::vector<float>& w, size_t columns) {
  std::vector<double> product;
  for (size_t row = 0; row < x.size(); row += columns) {
    for (size_t output = 0; output < w.size(); output += columns) {
      double sum = 0;
      for (size_t i = 0; i < columns; ++i) sum += static_cast<double>(x[row + i]) * w[output + i];
      product.push_back(sum);
    }
  }
  return product;
}

class SmoothCommandTest : public CommandTest {
 protected:
  // The paper's example: X 2×4, W 4×3 (here [3, 4], as models store it).
  const std::vector<float> x_ = {1, -16, 2, 6, -2, 8, -1, -9};
  const std::vector<float> w_ = {2, 1, -2, -1, 1, -1, -1, -1, -2, -1, 1, 1};
  const std::vector<float> norm_ = {1, 2, 3, 4};

  void MakeExample() {
    MakeFile("model",
             {{"w", "F32", {3, 4}, BytesOf(w_)},
              {"norm.weight", "F32", {4}, BytesOf(norm_)},
              {"before", "F32", {4, 2}, BytesOf({1, 2, 3, 4, 5, 6, 7, 8})},
              {"ids", "I64", {1}, "01234567"}},
             {{"format", "pt"}});
    MakeFile("x", {{"input", "F32", {2, 4}, BytesOf(x_)}});
  }
  std::vector<std::string> Example(const std::vector<std::string>& more) const {
    std::vector<std::string> all = {"smooth",        Path("model"), "--weight",     "w",
                                    "--activations", Path("x"),     "--activation", "input"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
};

TEST_F(SmoothCommandTest, TheTextbookExampleKeepsItsProduct) {
  MakeExample();
  ASSERT_EQ(Run(Example({"--previous", "norm.weight", "--previous", "before", "--out", Path("out"), "--factors",
                         Path("factors")})),
            ExitCode::kOk)
      << err_.str();
  const std::vector<float> factors = ValuesOf(Text(*Open("factors"), "smoothing_factors"));
  // sqrt(2 / 2), sqrt(16 / 1), sqrt(2 / 2), sqrt(9 / 1)
  ASSERT_EQ(factors, (std::vector<float>{1, 4, 1, 3}));
  const auto out = Open("out");
  const std::vector<float> smoothed = ValuesOf(Text(*out, "w"));
  std::vector<float> divided = x_;
  for (size_t i = 0; i < divided.size(); ++i) divided[i] /= factors[i % 4];
  const std::vector<double> before = Product(x_, w_, 4);
  const std::vector<double> after = Product(divided, smoothed, 4);
  for (size_t i = 0; i < before.size(); ++i) EXPECT_NEAR(after[i], before[i], 1e-5);
  EXPECT_EQ(ValuesOf(Text(*out, "norm.weight")), (std::vector<float>{1, 0.5f, 3, 4.0f / 3}));
  EXPECT_EQ(ValuesOf(Text(*out, "before")), (std::vector<float>{1, 2, 0.75f, 1, 5, 6, 7.0f / 3, 8.0f / 3}));
  EXPECT_EQ(Text(*out, "ids"), "01234567");
  EXPECT_EQ(out->metadata().at("format"), "pt");
}

TEST_F(SmoothCommandTest, OutliersCostLessAfterIt) {
  constexpr size_t kColumns = 512;
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> x(16 * kColumns), w(8 * kColumns);
  for (float& value : x) value = normal(random);
  for (float& value : w) value = normal(random) * 0.05f;
  for (size_t i = 0; i < x.size(); ++i) {
    if (i % kColumns < 3) x[i] *= 100;
  }
  MakeFile("model", {{"w", "F32", {8, kColumns}, BytesOf(w)}});
  MakeFile("x", {{"input", "F32", {2, 8, kColumns}, BytesOf(x)}});
  ASSERT_EQ(Run(Example({"--json"})), ExitCode::kOk) << err_.str();
  const auto effects = Json()["weights"][0]["effects"];
  ASSERT_EQ(effects.size(), 6u);
  for (const auto& effect : effects) {
    EXPECT_LT(effect["relative_error_after"].get<double>() * 3, effect["relative_error_before"].get<double>())
        << effect;
  }
  ASSERT_EQ(Run(Example({})), ExitCode::kOk);
  EXPECT_THAT(out_.str(), HasSubstr("512 factors"));
  EXPECT_THAT(out_.str(), HasSubstr("per channel"));
}

TEST_F(SmoothCommandTest, TakesTheChannelsOfACalibration) {
  MakeExample();
  StatisticsConfig config;
  config.grouping = StatisticsGrouping::kChannel;
  config.collection = StatisticsCollection::kRange;
  auto statistics = TensorStatistics::Make(config, DataType::kFloat32, std::vector<uint64_t>{2, 4});
  ASSERT_TRUE(statistics.ok()) << statistics.status();
  statistics->Add(0, std::as_bytes(std::span(x_)), BestCountKernels());
  std::string qcal;
  CalibrationWriter writer(config, 1, [&](std::span<const std::byte> bytes) {
    qcal.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return absl::OkStatus();
  });
  ASSERT_TRUE(writer.Write("layer.input", *statistics).ok());
  ASSERT_TRUE(writer.Finish().ok());
  ASSERT_TRUE(WriteWholeFile(Path("x.qcal"), std::as_bytes(std::span(qcal))).ok());
  ASSERT_EQ(Run({"smooth", Path("model"), "--weight", "w", "--calibration", Path("x.qcal"), "--calibrated",
                 "layer.input", "--factors", Path("factors")}),
            ExitCode::kOk)
      << err_.str();
  EXPECT_EQ(ValuesOf(Text(*Open("factors"), "smoothing_factors")), (std::vector<float>{1, 4, 1, 3}));
}

TEST_F(SmoothCommandTest, SaysWhatIsMissing) {
  MakeExample();
  EXPECT_EQ(Run({"smooth", Path("model"), "--weight", "w"}), ExitCode::kUsage);
  EXPECT_THAT(err_.str(), HasSubstr("--activations"));
  EXPECT_EQ(Run(Example({"--weight", "v"})), ExitCode::kFile);
  EXPECT_THAT(err_.str(), HasSubstr("'v' is not there"));
  EXPECT_EQ(Run(Example({"--weight", "ids"})), ExitCode::kFile);
  EXPECT_THAT(err_.str(), HasSubstr("is not F32, F16 or BF16"));
  EXPECT_NE(Run(Example({"--weight", "before"})), ExitCode::kOk);
  EXPECT_THAT(err_.str(), HasSubstr("before has 2 columns"));
  EXPECT_NE(Run(Example({"--alpha", "2"})), ExitCode::kOk);
  EXPECT_THAT(err_.str(), HasSubstr("alpha 2"));
  EXPECT_EQ(Run(Example({"--previous", "w"})), ExitCode::kUsage);
}

}  // namespace
}  // namespace quantd::cli
