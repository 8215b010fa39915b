#include "kernels/calibrate/ranges.h"

#include "kernels/base/error.h"
#include "kernels/calibrate/target_levels.h"
#include "tests/kernels/calibrate/calibrate_data.h"

namespace quantd {
namespace {

RangeRequest Percentile(double percentile, bool symmetric) {
  return {.method = RangeMethod::kPercentile, .percentile = percentile, .symmetric = symmetric};
}

Range FindOne(const TensorStatistics& statistics, const RangeRequest& request) {
  const auto ranges = FindRanges(statistics, request);
  EXPECT_TRUE(ranges.ok()) << ranges.status();
  return ranges.ok() && ranges->size() == 1 ? ranges->front() : Range{-1, -1};
}

// numpy.quantile(values, quantile) in float64.
double SortedQuantile(std::vector<float> values, double quantile) {
  std::ranges::sort(values);
  const double position = quantile * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(position);
  const double fraction = position - static_cast<double>(below);
  const double low = values[below];
  const double high = values[std::min(below + 1, values.size() - 1)];
  return fraction < 0.5 ? low + (high - low) * fraction : high - (high - low) * (1 - fraction);
}

std::vector<float> Magnitudes(std::vector<float> values) {
  for (float& value : values) value = std::fabs(value);
  return values;
}

// Most values small, a few a hundred times larger.
std::vector<float> WithOutliers(uint64_t count, uint32_t seed) {
  std::vector<float> values = Normal(count, seed);
  for (uint64_t i = 0; i < count; i += 97) values[i] *= 30;
  return values;
}

TEST(RangePercentile, Of16BitValuesItIsThatOfTheSortedOnes) {
  for (const DataType dtype : {DataType::kFloat16, DataType::kBFloat16}) {
    for (const uint64_t count : {uint64_t{1}, uint64_t{2}, uint64_t{5}, uint64_t{4099}}) {
      const Bytes bytes = BytesOf(dtype, WithOutliers(count, 1));
      const std::vector<float> values = FloatsOf(dtype, bytes);
      const TensorStatistics statistics = StatisticsOf({}, dtype, {count}, bytes);
      for (const double percentile : {50.5, 75.0, 90.0, 99.0, 99.9, 99.99, 100.0}) {
        const Range two_sided = FindOne(statistics, Percentile(percentile, false));
        EXPECT_EQ(two_sided.lowest, static_cast<float>(SortedQuantile(values, (100 - percentile) / 100)));
        EXPECT_EQ(two_sided.highest, static_cast<float>(SortedQuantile(values, percentile / 100)));
        const auto absolute = static_cast<float>(SortedQuantile(Magnitudes(values), percentile / 100));
        EXPECT_EQ(FindOne(statistics, Percentile(percentile, true)), (Range{-absolute, absolute}));
      }
    }
  }
}

TEST(RangePercentile, OfFloat32ItIsWithinTwoToTheMinusSeven) {
  for (const uint64_t count : {uint64_t{3}, uint64_t{100}, uint64_t{5000}}) {
    const std::vector<float> values = WithOutliers(count, 2);
    const TensorStatistics statistics = StatisticsOf(values);
    for (const double percentile : {51.0, 60.0, 90.0, 99.0, 99.9}) {
      const double expected = SortedQuantile(Magnitudes(values), percentile / 100);
      EXPECT_NEAR(FindOne(statistics, Percentile(percentile, true)).highest, expected, expected / 128);
    }
    EXPECT_EQ(FindOne(statistics, Percentile(100, false)),
              (Range{*std::ranges::min_element(values), *std::ranges::max_element(values)}));
  }
}

TEST(RangePercentile, DoesNotCountWhatIsNotFinite) {
  std::vector<float> values = {1, 2, 3, 4, 5};
  const Range expected = FindOne(StatisticsOf(values, DataType::kBFloat16), Percentile(90, false));
  values.insert(values.end(), {kInfinity, std::nanf(""), -kInfinity});
  EXPECT_EQ(FindOne(StatisticsOf(values, DataType::kBFloat16), Percentile(90, false)), expected);
}

TEST(RangeMinMax, IsOfEachBucket) {
  const StatisticsConfig config = Config({{"grouping", "channel"}, {"axis", "0"}});
  const TensorStatistics statistics =
      StatisticsOf(config, DataType::kFloat32, {3, 2}, BytesOf(DataType::kFloat32, {1, 2, -5, 3, 0, std::nanf("")}));
  EXPECT_EQ(*FindRanges(statistics, {.symmetric = false}), (std::vector<Range>{{1, 2}, {-5, 3}, {0, 0}}));
  EXPECT_EQ(*FindRanges(statistics, {}), (std::vector<Range>{{-2, 2}, {-5, 5}, {0, 0}}));
  EXPECT_EQ(ChannelAbsmax(statistics), (std::vector<float>{2, 5, 0}));
}

// The squared error of values that are encoded and decoded one by one.
double ErrorOf(const std::vector<float>& values, Element target, bool symmetric, float lowest, float highest) {
  const TargetScale scale = ScaleFor(target, symmetric, lowest, highest);
  double error = 0;
  for (const float value : values) {
    const double difference = static_cast<double>(value) - FakeQuantized(target, symmetric, scale, value);
    error += difference * difference;
  }
  return error;
}

double LeastErrorOfAFineGrid(const std::vector<float>& values, Element target, bool symmetric) {
  const float lowest = std::min(0.0f, *std::ranges::min_element(values));
  const float highest = std::max(0.0f, *std::ranges::max_element(values));
  const float absmax = std::max(-lowest, highest);
  double least = std::numeric_limits<double>::infinity();
  const int steps = symmetric ? 1500 : 40;
  for (int i = 1; i <= steps; ++i) {
    const float ratio = static_cast<float>(i) / static_cast<float>(steps);
    if (symmetric) {
      least = std::min(least, ErrorOf(values, target, true, -absmax * ratio, absmax * ratio));
      continue;
    }
    for (int k = 1; k <= steps; ++k) {
      least = std::min(least, ErrorOf(values, target, false, lowest * ratio, highest * static_cast<float>(k) / 40.0f));
    }
  }
  return least;
}

// Of float32 the histogram does not tell where in its bin an element is: what that makes of the error averages out.
TEST(RangeMse, IsWithinOnePercentOfAFineGrid) {
  for (const auto& [dtype, count] : {std::pair{DataType::kBFloat16, 2000u}, {DataType::kFloat32, 20000u}}) {
    std::vector<float> skewed = Normal(count, 5);
    for (float& value : skewed) value = value < 0 ? value * 0.3f : value * value * 4;
    for (const std::vector<float>& wanted : {Normal(count, 3), WithOutliers(count, 4), skewed}) {
      const std::vector<float> values = FloatsOf(dtype, BytesOf(dtype, wanted));
      const TensorStatistics statistics = StatisticsOf(values, dtype);
      for (const auto& [target, symmetric] : {std::pair{Element::kInt8, true},
                                              {Element::kInt4, true},
                                              {Element::kFp8E4m3, true},
                                              {Element::kInt4, false},
                                              {Element::kInt8, false}}) {
        const Range range =
            FindOne(statistics, {.method = RangeMethod::kMse, .target = target, .symmetric = symmetric});
        EXPECT_LE(ErrorOf(values, target, symmetric, range.lowest, range.highest),
                  1.01 * LeastErrorOfAFineGrid(values, target, symmetric))
            << InfoOf(dtype).name << " to element " << static_cast<int>(target) << (symmetric ? " symmetric" : "");
      }
    }
  }
}

TEST(RangeMse, ValuesThatAreLevelsKeepTheirRange) {
  std::vector<float> values;
  for (int i = -7; i <= 7; ++i) values.push_back(static_cast<float>(i));
  EXPECT_EQ(FindOne(StatisticsOf(values, DataType::kBFloat16), {.method = RangeMethod::kMse, .target = Element::kInt4}),
            (Range{-7, 7}));
}

// The peers' formula as they wrote it down: arrays of bins, and the divergence of two whole distributions.
float NaiveEntropyAbsmax(const std::vector<float>& values) {
  constexpr size_t kBins = 2048;
  double absmax = 0;
  for (const float value : values) absmax = std::max(absmax, std::fabs(static_cast<double>(value)));
  std::vector<double> counts(kBins);
  for (const float value : values) {
    ++counts[std::min(static_cast<size_t>(std::fabs(static_cast<double>(value)) / absmax * kBins), kBins - 1)];
  }
  counts[0] = counts[1];
  double least = std::numeric_limits<double>::infinity();
  size_t best = kBins;
  for (size_t bins = 128; bins <= kBins; ++bins) {
    std::vector<double> reference(counts.begin(), counts.begin() + static_cast<std::ptrdiff_t>(bins));
    for (size_t i = bins; i < kBins; ++i) reference.back() += counts[i];
    std::vector<double> sums(128);
    std::vector<double> occupied(128);
    for (size_t i = 0; i < bins; ++i) {
      if (counts[i] == 0) continue;
      sums[i * 128 / bins] += counts[i];
      ++occupied[i * 128 / bins];
    }
    double reference_total = 0;
    double quantized_total = 0;
    std::vector<double> quantized(bins);
    for (size_t i = 0; i < bins; ++i) {
      if (counts[i] != 0) quantized[i] = sums[i * 128 / bins] / occupied[i * 128 / bins];
      reference_total += reference[i];
      quantized_total += quantized[i];
    }
    double divergence = 0;
    for (size_t i = 0; i < bins; ++i) {
      if (reference[i] == 0) continue;
      const double p = reference[i] / reference_total;
      divergence += p * std::log(p / (quantized[i] / quantized_total));
    }
    if (divergence <= least) {
      least = divergence;
      best = bins;
    }
  }
  return static_cast<float>(absmax * (static_cast<double>(best) / kBins));
}

TEST(RangeEntropy, OfInt8IsThePeersFormula) {
  for (const auto& wanted : {Normal(20000, 6), WithOutliers(20000, 7)}) {
    const std::vector<float> values = FloatsOf(DataType::kBFloat16, BytesOf(DataType::kBFloat16, wanted));
    const float expected = NaiveEntropyAbsmax(values);
    EXPECT_EQ(FindOne(StatisticsOf(values, DataType::kBFloat16), {.method = RangeMethod::kEntropy}),
              (Range{-expected, expected}));
  }
}

TEST(RangeEntropy, OfFloat8KeepsMoreOfTheTailThanOfInt8) {
  const TensorStatistics statistics = StatisticsOf(WithOutliers(50000, 8));
  const float int8 = FindOne(statistics, {.method = RangeMethod::kEntropy}).highest;
  const float fp8 = FindOne(statistics, {.method = RangeMethod::kEntropy, .target = Element::kFp8E4m3}).highest;
  EXPECT_LT(int8, statistics.Total().Absmax());
  EXPECT_GT(fp8, int8);
}

TEST(Ranges, OfNothingOrZerosAreZero) {
  for (const auto method : {RangeMethod::kMinMax, RangeMethod::kPercentile, RangeMethod::kMse, RangeMethod::kEntropy}) {
    EXPECT_EQ(FindOne(StatisticsOf({0.0f, -0.0f}), {.method = method}), Range{});
    EXPECT_EQ(FindOne(StatisticsOf({std::nanf("")}), {.method = method}), Range{});
    EXPECT_EQ(FindOne(StatisticsOf(std::vector<float>{}), {.method = method}), Range{});
  }
}

TEST(Ranges, OfOneValueOrOfTheExtremesAreFinite) {
  const float largest = std::numeric_limits<float>::max();
  const float smallest = std::numeric_limits<float>::denorm_min();
  for (const auto& values : {std::vector<float>{3}, {-3}, {largest, -largest}, {smallest}, {largest, smallest}}) {
    for (const auto method : {RangeMethod::kPercentile, RangeMethod::kMse, RangeMethod::kEntropy}) {
      const Range range = FindOne(StatisticsOf(values), {.method = method});
      EXPECT_TRUE(std::isfinite(range.highest) && range.lowest <= range.highest && range.highest > 0)
          << NameOf(method) << " of " << values[0];
    }
  }
}

TEST(Ranges, NeedADistributionForAllButMinMax) {
  const TensorStatistics statistics =
      StatisticsOf(Config({{"collect", "range"}}), DataType::kFloat32, {2}, BytesOf(DataType::kFloat32, {1, 2}));
  EXPECT_TRUE(FindRanges(statistics, {}).ok());
  const auto refused = FindRanges(statistics, {.method = RangeMethod::kMse});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(DetailsOf(refused.status()).reason, "STATISTICS_MISSING");
  EXPECT_EQ(DetailsOf(Importance(statistics).status()).reason, "STATISTICS_MISSING");
}

TEST(Ranges, RefuseWhatAMethodCannotDo) {
  const TensorStatistics statistics = StatisticsOf({1});
  for (const RangeRequest& request :
       {Percentile(50, true), Percentile(100.1, true), Percentile(std::nan(""), true),
        RangeRequest{.method = RangeMethod::kMse, .target = Element::kNf4},
        RangeRequest{.method = RangeMethod::kMse, .target = Element::kFp8E4m3, .symmetric = false},
        RangeRequest{.method = RangeMethod::kEntropy, .target = Element::kInt4},
        RangeRequest{.method = RangeMethod::kEntropy, .symmetric = false}}) {
    EXPECT_EQ(DetailsOf(FindRanges(statistics, request).status()).reason, "INVALID_RANGE_REQUEST");
  }
}

TEST(SharedRange, IsThatOfAllElementsTogether) {
  const std::vector<float> q = Normal(1000, 9);
  const std::vector<float> k = WithOutliers(700, 10);
  std::vector<float> both = q;
  both.insert(both.end(), k.begin(), k.end());
  const TensorStatistics of_q = StatisticsOf(q);
  const TensorStatistics of_k = StatisticsOf(k);
  const TensorStatistics* const set[] = {&of_q, &of_k};
  for (const RangeRequest& request : {RangeRequest{}, Percentile(99, false)}) {
    EXPECT_EQ(*FindSharedRange(set, request), FindOne(StatisticsOf(both), request));
  }
  EXPECT_EQ(DetailsOf(FindSharedRange({}, {}).status()).reason, "INVALID_RANGE_REQUEST");
}

TEST(RangeMethod, HasANameThatFindsItAgain) {
  for (const auto method : {RangeMethod::kMinMax, RangeMethod::kPercentile, RangeMethod::kMse, RangeMethod::kEntropy}) {
    EXPECT_EQ(RangeMethodNamed(NameOf(method)), method);
  }
  EXPECT_EQ(RangeMethodNamed("moving_average"), std::nullopt);
}

}  // namespace
}  // namespace quantd
