#include "kernels/calibrate/smooth.h"

#include "kernels/base/error.h"
#include "kernels/calibrate/reproducible_log.h"
#include "kernels/calibrate/w8a8_error.h"
#include "tests/kernels/calibrate/calibrate_data.h"

namespace quantd {
namespace {

constexpr DataType kF32 = DataType::kFloat32;

std::vector<float> Transposed(const std::vector<float>& values, size_t columns) {
  std::vector<float> transposed(values.size());
  const size_t rows = values.size() / columns;
  for (size_t row = 0; row < rows; ++row) {
    for (size_t column = 0; column < columns; ++column)
      transposed[column * rows + row] = values[row * columns + column];
  }
  return transposed;
}

std::vector<double> Product(const std::vector<float>& x, const std::vector<float>& w, size_t columns) {
  std::vector<double> products;
  for (size_t i = 0; i < x.size(); i += columns) {
    for (size_t k = 0; k < w.size(); k += columns) {
      double sum = 0;
      for (size_t j = 0; j < columns; ++j) sum += static_cast<double>(x[i + j]) * w[k + j];
      products.push_back(sum);
    }
  }
  return products;
}

struct Smoothed {
  std::vector<float> activations;
  std::vector<float> weights;
};

Smoothed Smooth(const std::vector<float>& x, const std::vector<float>& w, size_t columns) {
  const Bytes activations = BytesOf(kF32, x);
  Bytes weights = BytesOf(kF32, w);
  const auto factors = SmoothingFactors(ColumnAbsmax(kF32, activations, columns), ColumnAbsmax(kF32, weights, columns));
  EXPECT_TRUE(factors.ok());
  EXPECT_TRUE(MultiplyColumns(kF32, weights, *factors).ok());
  std::vector<float> divided = x;
  for (size_t i = 0; i < divided.size(); ++i) divided[i] /= (*factors)[i % columns];
  return {divided, FloatsOf(kF32, weights)};
}

// The SmoothQuant paper's figure: one channel of X has an outlier, alpha is one half.
TEST(Smooth, TheTextbookExampleKeepsTheProduct) {
  const std::vector<float> x = {1, -16, 2, 6, -2, 8, -1, -9};
  const std::vector<float> w_in_rows = {2, 1, -2, 1, -1, -1, 2, -1, -2, -1, -1, 1};  // [4, 3]
  const std::vector<float> w = Transposed(w_in_rows, 3);
  const auto factors = SmoothingFactors(std::vector<float>{2, 16, 2, 9}, std::vector<float>{2, 1, 2, 1});
  ASSERT_TRUE(factors.ok());
  EXPECT_EQ(*factors, (std::vector<float>{1, 4, 1, 3}));
  const Smoothed smoothed = Smooth(x, w, 4);
  EXPECT_EQ(smoothed.activations, (std::vector<float>{1, -4, 2, 2, -2, 2, -1, -3}));
  EXPECT_EQ(smoothed.weights, Transposed({2, 1, -2, 4, -4, -4, 2, -1, -2, -3, -3, 3}, 3));
  EXPECT_EQ(Product(smoothed.activations, smoothed.weights, 4), Product(x, w, 4));
}

TEST(SmoothingFactors, DeadChannelsStayAsTheyAre) {
  EXPECT_EQ(*SmoothingFactors(std::vector<float>{0, 4, kInfinity, std::nanf(""), 4},
                              std::vector<float>{1, 0, 1, 1, std::nanf("")}),
            (std::vector<float>{1, 1, 1, 1, 1}));
}

TEST(SmoothingFactors, AreClamped) {
  const std::vector<float> activations = {1e-30f, 1e30f, 4};
  const std::vector<float> weights = {1e6f, 1, 1e-30f};
  EXPECT_EQ(*SmoothingFactors(activations, weights),
            (std::vector<float>{1e-5f, 1e5f, static_cast<float>(std::sqrt(4 / static_cast<double>(1e-5f)))}));
}

TEST(SmoothingFactors, AlphaSaysHowMuchGoesIntoTheWeights) {
  const std::vector<float> activations = {8, 3};
  const std::vector<float> weights = {2, 5};
  EXPECT_EQ(*SmoothingFactors(activations, weights, {.alpha = 1}), activations);
  EXPECT_EQ(*SmoothingFactors(activations, weights, {.alpha = 0}), (std::vector<float>{0.5f, 0.2f}));
  const auto factors = SmoothingFactors(activations, weights, {.alpha = 0.75});
  EXPECT_FLOAT_EQ((*factors)[0], std::pow(8.0f, 0.75f) / std::pow(2.0f, 0.25f));
  EXPECT_FLOAT_EQ((*factors)[1], std::pow(3.0f, 0.75f) / std::pow(5.0f, 0.25f));
}

TEST(SmoothingFactors, RefuseWhatDoesNotMatch) {
  const std::vector<float> two = {1, 2};
  const std::vector<float> three = {1, 2, 3};
  EXPECT_EQ(DetailsOf(SmoothingFactors(two, three).status()).reason, "INVALID_SMOOTHING");
  for (const SmoothOptions& options :
       {SmoothOptions{.alpha = 1.1}, SmoothOptions{.alpha = std::nan("")}, SmoothOptions{.factor_min = 0},
        SmoothOptions{.factor_min = 2, .factor_max = 1}, SmoothOptions{.weight_absmax_min = -1}}) {
    EXPECT_EQ(DetailsOf(SmoothingFactors(two, two, options).status()).reason, "INVALID_SMOOTHING");
  }
}

TEST(ApplySmoothing, RoundsOnceToTheType) {
  for (const DataType dtype : kFloatTypes) {
    const std::vector<float> values = FloatsOf(dtype, BytesOf(dtype, Normal(6, 1)));
    const std::vector<float> factors = {1.7f, 0.3f, 2.9f};
    Bytes columns = BytesOf(dtype, values);
    ASSERT_TRUE(MultiplyColumns(dtype, columns, factors).ok());
    Bytes vector = BytesOf(dtype, {values[0], values[1], values[2]});
    ASSERT_TRUE(DivideVector(dtype, vector, factors).ok());
    Bytes rows = BytesOf(dtype, values);
    ASSERT_TRUE(DivideRows(dtype, rows, 2, factors).ok());
    std::vector<float> multiplied;
    std::vector<float> divided;
    std::vector<float> divided_rows;
    for (size_t i = 0; i < 6; ++i) multiplied.push_back(values[i] * factors[i % 3]);
    for (size_t i = 0; i < 3; ++i) divided.push_back(values[i] / factors[i]);
    for (size_t i = 0; i < 6; ++i) divided_rows.push_back(values[i] / factors[i / 2]);
    EXPECT_EQ(columns, BytesOf(dtype, multiplied));
    EXPECT_EQ(vector, BytesOf(dtype, divided));
    EXPECT_EQ(rows, BytesOf(dtype, divided_rows));
  }
}

TEST(ApplySmoothing, RefusesOtherSizes) {
  Bytes seven(7 * 4);
  const std::vector<float> factors = {1, 2};
  EXPECT_FALSE(MultiplyColumns(kF32, seven, factors).ok());
  EXPECT_FALSE(MultiplyColumns(kF32, seven, {}).ok());
  EXPECT_FALSE(MultiplyColumns(DataType::kInt8, seven, factors).ok());
  EXPECT_FALSE(DivideVector(kF32, seven, factors).ok());
  EXPECT_FALSE(DivideRows(kF32, seven, 3, factors).ok());
  EXPECT_FALSE(DivideRows(kF32, seven, 0, factors).ok());
  EXPECT_FALSE(DivideRows(kF32, seven, ~0ull / 2 + 1, factors).ok());
}

// As the paper describes: a few channels a hundred times larger than the others, in every token.
TEST(W8a8, OutlierChannelsCostFiveTimesLessAfterSmoothing) {
  constexpr size_t kTokens = 64;
  constexpr size_t kColumns = 1024;
  constexpr size_t kOutputs = 96;
  std::vector<float> x = Normal(kTokens * kColumns, 2);
  for (size_t i = 0; i < x.size(); ++i) {
    if (i % kColumns % 171 == 5) x[i] *= 100;
  }
  const std::vector<float> w = Normal(kOutputs * kColumns, 3, 0.05f);
  const Smoothed smoothed = Smooth(x, w, kColumns);
  const W8a8Options per_tensor{.weights = WeightScales::kPerTensor};
  const double before = MeasureW8a8(x, w, kColumns, per_tensor)->Relative();
  const double after = MeasureW8a8(smoothed.activations, smoothed.weights, kColumns, per_tensor)->Relative();
  RecordProperty("before", std::to_string(before));
  RecordProperty("after", std::to_string(after));
  std::printf("relative error of X W: %.5f before, %.5f after, %.1f times less\n", before, after, before / after);
  EXPECT_GE(before, 5 * after);
}

// Half of the tokens, outputs or columns are twenty times louder than the others.
TEST(W8a8, FinerScalesHaveSmallerErrors) {
  std::vector<float> tokens = Normal(32 * 256, 4);
  for (size_t i = 0; i < 16 * 256; ++i) tokens[i] *= 20;
  std::vector<float> outputs = Normal(32 * 256, 5);
  for (size_t i = 0; i < 16 * 256; ++i) outputs[i] *= 20;
  std::vector<float> groups = Normal(32 * 256, 6);
  for (size_t i = 0; i < groups.size(); ++i) groups[i] *= i % 256 < 128 ? 20 : 1;
  const std::vector<float> plain = Normal(32 * 256, 7);
  const auto error = [](const std::vector<float>& x, const std::vector<float>& w, ActivationScales activations,
                        WeightScales weights) { return MeasureW8a8(x, w, 256, {activations, weights})->error_squares; };
  EXPECT_LT(error(tokens, plain, ActivationScales::kPerToken, WeightScales::kPerGroup),
            error(tokens, plain, ActivationScales::kPerTensor, WeightScales::kPerGroup));
  EXPECT_LT(error(plain, outputs, ActivationScales::kPerToken, WeightScales::kPerChannel),
            error(plain, outputs, ActivationScales::kPerToken, WeightScales::kPerTensor));
  EXPECT_LT(error(plain, groups, ActivationScales::kPerToken, WeightScales::kPerGroup),
            error(plain, groups, ActivationScales::kPerToken, WeightScales::kPerChannel));
}

TEST(W8a8, WhatInt8HoldsHasNoError) {
  const std::vector<float> x = {127, -3, 5, 0};
  EXPECT_EQ(MeasureW8a8(x, x, 2, {.group_size = 1})->Relative(), 0);
  EXPECT_FALSE(MeasureW8a8(x, x, 3, {}).ok());
  EXPECT_FALSE(MeasureW8a8(x, x, 0, {}).ok());
}

TEST(ReproducibleLog, AgreesWithTheLibraryToAFewUnits) {
  std::mt19937_64 random(6);
  for (int i = 0; i < 100000; ++i) {
    const double value = std::bit_cast<double>((random() & 0xfffffffffffffu) | (1023 - 160 + random() % 320) << 52);
    EXPECT_NEAR(ReproducibleLog2(value), std::log2(value), 1e-15 * std::max(1.0, std::fabs(std::log2(value))));
    const double power = static_cast<double>(static_cast<int64_t>(random())) * 0x1p-56;  // +-128
    EXPECT_NEAR(ReproducibleExp2(power) / std::exp2(power), 1, 1e-15);
  }
  EXPECT_EQ(ReproducibleLog2(8), 3);
  EXPECT_EQ(ReproducibleExp2(-5), 1.0 / 32);
}

}  // namespace
}  // namespace quantd
