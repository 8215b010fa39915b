#include "kernels/calibrate/tensor_statistics.h"

#include "kernels/base/error.h"
#include "tests/kernels/calibrate/calibrate_data.h"

namespace quantd {
namespace {

__extension__ using Quad = __float128;  // exact for sums of a thousand squares of like size

TEST(TensorStatistics, RangesAreThoseOfEachBucketsFiniteElements) {
  for (const Case& c : kCases) {
    for (const DataType dtype : kFloatTypes) {
      const StatisticsConfig config = Config(c.fields);
      const Bytes values = AnyPatterns(dtype, ElementsOf(c.shape), 1);
      EXPECT_EQ(StatisticsOf(config, dtype, c.shape, values).Ranges(), NaiveRanges(config, dtype, c.shape, values))
          << InfoOf(dtype).name << ", " << c.shape.size() << " extents";
    }
  }
}

TEST(TensorStatistics, EveryTargetMakesTheSameBytes) {
  for (const Case& c : kCases) {
    for (const DataType dtype : kFloatTypes) {
      const StatisticsConfig config = Config(c.fields);
      const uint64_t count = ElementsOf(c.shape);
      for (const Bytes& values : {AnyPatterns(dtype, count, 2), BytesOf(dtype, Normal(count, 3)),
                                  BytesOf(dtype, std::vector<float>(count, -0.0f))}) {
        const Bytes expected = Qcal(StatisticsOf(config, dtype, c.shape, values, kBaselineCountKernels));
        for (const CountKernels* const kernels : SupportedCountKernels()) {
          EXPECT_EQ(Qcal(StatisticsOf(config, dtype, c.shape, values, *kernels)), expected) << kernels->target;
        }
      }
    }
  }
}

TEST(TensorStatistics, OneNonFiniteElementAtAnyPlaceIsCountedOnce) {
  for (const DataType dtype : kFloatTypes) {
    for (const CountKernels* const kernels : SupportedCountKernels()) {
      for (const float special : {kInfinity, -kInfinity, std::nanf("")}) {
        for (uint64_t place = 0; place < 300; place += 7) {
          std::vector<float> values(300, -2);
          values[place] = special;
          const Bytes bytes = BytesOf(dtype, values);
          const BucketRange expected{300, 1, -2, -2};
          for (const char* const collect : {"range", "distribution", "importance"}) {
            EXPECT_EQ(StatisticsOf(Config({{"collect", collect}}), dtype, {300}, bytes, *kernels).Total(), expected)
                << kernels->target << " " << place;
          }
          EXPECT_EQ(StatisticsOf(Config({{"grouping", "channel"}}), dtype, {3, 100}, bytes, *kernels).Total(), expected)
              << kernels->target << " " << place;
        }
      }
    }
  }
}

TEST(TensorStatistics, AnyCutInAnyOrderMakesTheSameBytes) {
  std::mt19937 random(4);
  for (const Case& c : kCases) {
    for (const DataType dtype : kFloatTypes) {
      const StatisticsConfig config = Config(c.fields);
      const uint64_t count = ElementsOf(c.shape);
      const uint64_t value_bytes = SizeBytes(dtype);
      const Bytes values = AnyPatterns(dtype, count, 5);
      const Bytes expected = Qcal(StatisticsOf(config, dtype, c.shape, values));
      for (int round = 0; round < 5; ++round) {
        std::vector<uint64_t> cuts = {0, count};
        for (int i = 0; i < 9; ++i) cuts.push_back(random() % (count + 1));
        std::ranges::sort(cuts);
        std::vector<size_t> order(cuts.size() - 1);
        for (size_t i = 0; i < order.size(); ++i) order[i] = i;
        std::ranges::shuffle(order, random);
        TensorStatistics first = MakeStatistics(config, dtype, c.shape);
        TensorStatistics second = MakeStatistics(config, dtype, c.shape);
        for (const size_t part : order) {
          const auto bytes =
              std::span(values).subspan(cuts[part] * value_bytes, (cuts[part + 1] - cuts[part]) * value_bytes);
          (random() % 2 == 0 ? first : second).Add(cuts[part], bytes);
          if (random() % 4 == 0) first.Compact();
        }
        ASSERT_TRUE(first.Merge(second).ok());
        EXPECT_EQ(Qcal(first), expected);
      }
    }
  }
}

TEST(TensorStatistics, EveryCutOfARowMakesTheSameBytes) {
  const StatisticsConfig config = Config({{"grouping", "channel"}, {"collect", "importance"}});
  const Shape shape = {4, 35};
  const Bytes values = AnyPatterns(DataType::kBFloat16, 140, 6);
  const Bytes expected = Qcal(StatisticsOf(config, DataType::kBFloat16, shape, values));
  for (uint64_t cut = 0; cut <= 140; ++cut) {
    TensorStatistics statistics = MakeStatistics(config, DataType::kBFloat16, shape);
    statistics.Add(cut, std::span(values).subspan(2 * cut));
    statistics.Add(0, std::span(values).first(2 * cut));
    EXPECT_EQ(Qcal(statistics), expected) << cut;
  }
}

TEST(TensorStatistics, ThreeStatesMergeToTheSameBytesInAllOrders) {
  for (const DataType dtype : kFloatTypes) {
    std::vector<TensorStatistics> parts;
    parts.reserve(3);
    for (uint32_t i = 0; i < 3; ++i) parts.push_back(StatisticsOf({}, dtype, {500}, AnyPatterns(dtype, 500, 10 + i)));
    std::vector<size_t> order = {0, 1, 2};
    std::optional<Bytes> expected;
    do {
      TensorStatistics merged = parts[order[0]];
      ASSERT_TRUE(merged.Merge(parts[order[1]]).ok());
      ASSERT_TRUE(merged.Merge(parts[order[2]]).ok());
      if (!expected) expected = Qcal(merged);
      EXPECT_EQ(Qcal(merged), *expected);
    } while (std::ranges::next_permutation(order).found);
  }
}

TEST(TensorStatistics, SumsAreExact) {
  for (const DataType dtype : kFloatTypes) {
    const Bytes bytes = BytesOf(dtype, Normal(5000, 7));
    Quad sum = 0;
    Quad squares = 0;
    for (const float value : FloatsOf(dtype, bytes)) {
      sum += value;
      squares += static_cast<Quad>(value) * value;
    }
    const TensorStatistics distribution = StatisticsOf({}, dtype, {5000}, bytes);
    EXPECT_EQ(distribution.Sum().Value(), static_cast<double>(sum));
    EXPECT_EQ(distribution.SumOfSquares().Value(), static_cast<double>(squares));
    const TensorStatistics importance = StatisticsOf(Config({{"collect", "importance"}}), dtype, {5000}, bytes);
    EXPECT_EQ(importance.SumOfSquares().Value(), static_cast<double>(squares));
    EXPECT_EQ(importance.MeanSquares()[0], static_cast<double>(squares) / 5000);
  }
}

TEST(TensorStatistics, SumsOfTheSmallestAndTheLargestNumbersAreExact) {
  const float largest = std::numeric_limits<float>::max();
  const float smallest = std::numeric_limits<float>::denorm_min();
  const std::vector<float> values = {largest, largest, -largest, -largest, smallest, smallest, -smallest};
  const TensorStatistics statistics = StatisticsOf(values);
  EXPECT_EQ(statistics.Sum().Value(), smallest);
  EXPECT_EQ(statistics.SumOfSquares().Value(), 4.0 * largest * largest);
  EXPECT_EQ(StatisticsOf({smallest, -smallest}).SumOfSquares().Value(), 0x1p-297);
}

// Blocks that fill what vector registers can hold of a sum, and values at either end of the exponents they cover.
TEST(TensorStatistics, EveryTargetAddsFullBlocksOfAnyExponentsExactly) {
  constexpr uint64_t kCount = 3 * 4096 + 77;
  constexpr uint32_t kAllOnes = 0x7fffff;
  const StatisticsConfig config = Config({{"collect", "distribution"}});
  std::mt19937 random(11);
  for (const uint32_t highest : {0u, 1u, 2u, 11u, 12u, 13u, 100u, 127u, 254u}) {
    for (const uint32_t distance : {0u, 1u, 5u, 10u, 11u, 12u, 13u, 30u}) {
      for (const uint32_t signs : {0u, 0x80000000u, 0x7fffffffu}) {  // none, all, any
        std::vector<float> floats(kCount);
        for (float& value : floats) {
          const uint32_t field = highest - std::min<uint32_t>(highest, random() % (distance + 1));
          const uint32_t sign = signs == 0x7fffffffu ? static_cast<uint32_t>(random()) & 0x80000000u : signs;
          const uint32_t fraction = random() % 4 == 0 ? static_cast<uint32_t>(random()) & kAllOnes : kAllOnes;
          value = std::bit_cast<float>(sign | field << 23 | fraction);
        }
        floats[5] = std::bit_cast<float>(highest << 23 | kAllOnes);
        const Bytes values = BytesOf(DataType::kFloat32, floats);
        const Bytes expected = Qcal(StatisticsOf(config, DataType::kFloat32, {kCount}, values, kBaselineCountKernels));
        for (const CountKernels* const kernels : SupportedCountKernels()) {
          ASSERT_EQ(Qcal(StatisticsOf(config, DataType::kFloat32, {kCount}, values, *kernels)), expected)
              << kernels->target << " " << highest << " " << distance << " " << signs;
        }
      }
    }
  }
}

TEST(TensorStatistics, ImportanceOfChannelsIsTheirMeanSquare) {
  const Bytes bytes = BytesOf(DataType::kBFloat16, {1, 2, 3, -3, 0, kInfinity});
  const auto config = Config({{"grouping", "channel"}, {"collect", "importance"}});
  EXPECT_EQ(StatisticsOf(config, DataType::kBFloat16, {2, 3}, bytes).MeanSquares(), (std::vector<double>{5, 2, 9}));
}

TEST(TensorStatistics, ManyRowsCarry) {
  constexpr uint64_t kRows = 70000;  // more than words hold without
  const auto config = Config({{"grouping", "channel"}, {"collect", "importance"}});
  const std::vector<float> values(kRows * 2, std::numeric_limits<float>::max());
  const TensorStatistics statistics =
      StatisticsOf(config, DataType::kFloat32, {kRows, 2}, BytesOf(DataType::kFloat32, values));
  const double square = static_cast<double>(values[0]) * values[0];
  EXPECT_EQ(statistics.MeanSquares(), (std::vector<double>{square, square}));
}

TEST(TensorStatistics, MinusZeroIsBelowPlusZero) {
  for (const char* const collect : {"range", "distribution"}) {
    for (const auto& order : {std::vector<float>{0.0f, -0.0f}, std::vector<float>{-0.0f, 0.0f}}) {
      const auto total =
          StatisticsOf(Config({{"collect", collect}}), DataType::kFloat32, {2}, BytesOf(DataType::kFloat32, order))
              .Total();
      EXPECT_TRUE(std::signbit(total.lowest));
      EXPECT_FALSE(std::signbit(total.highest));
    }
  }
}

TEST(TensorStatistics, NothingFiniteHasNoRange) {
  const BucketRange total = StatisticsOf({std::nanf(""), kInfinity}).Total();
  EXPECT_EQ(total, (BucketRange{2, 2, kInfinity, -kInfinity}));
  EXPECT_EQ(total.Absmax(), 0);
}

TEST(TensorStatistics, TheDistributionOf16BitsHasEveryPattern) {
  Bytes bytes;
  for (uint32_t pattern = 0; pattern < kPatterns; ++pattern) {
    bytes.push_back(static_cast<std::byte>(pattern));
    bytes.push_back(static_cast<std::byte>(pattern >> 8));
  }
  for (const auto& [dtype, nonfinite] : {std::pair{DataType::kFloat16, 2048u}, {DataType::kBFloat16, 256u}}) {
    const TensorStatistics statistics = StatisticsOf({}, dtype, {kPatterns}, bytes);
    EXPECT_EQ(statistics.Distribution().size(), kPatterns - nonfinite);
    EXPECT_EQ(statistics.Total().nonfinite, nonfinite);
  }
}

TEST(TensorStatistics, TheDistributionOfFloat32HasItsUpper16Bits) {
  const Histogram histogram =
      StatisticsOf({1.0f, 1.007f, 1.0079f, -1.0f, 0.0f, std::numeric_limits<float>::denorm_min()}).Distribution();
  EXPECT_EQ(histogram.patterns, (std::vector<uint16_t>{0x0000, 0x3f80, 0x3f81, 0xbf80}));
  EXPECT_EQ(histogram.counts, (std::vector<uint64_t>{2, 2, 1, 1}));
}

#if defined(__SSE2__)
// As a library built with -ffast-math leaves the thread: subnormals are zeros.
TEST(TensorStatistics, TheCallersFloatModesDoNotMatter) {
  constexpr unsigned kSubnormalsAreZeros = 0x8040;
  for (const DataType dtype : kFloatTypes) {
    const Bytes values = AnyPatterns(dtype, 1000, 60);
    const Bytes expected = Qcal(StatisticsOf({}, dtype, {1000}, values));
    const auto config = Config({{"grouping", "channel"}});
    const Bytes expected_of_channels = Qcal(StatisticsOf(config, dtype, {10, 100}, values));
    const unsigned modes = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(modes | kSubnormalsAreZeros);
    const Bytes found = Qcal(StatisticsOf({}, dtype, {1000}, values));
    const Bytes found_of_channels = Qcal(StatisticsOf(config, dtype, {10, 100}, values));
    __builtin_ia32_ldmxcsr(modes);
    EXPECT_EQ(found, expected);
    EXPECT_EQ(found_of_channels, expected_of_channels);
  }
}
#endif

// What a device hands over makes the same state.
TEST(TensorStatistics, WhatAnotherDeviceCountedIsAsIfAdded) {
  for (const Case& c : kCases) {
    const StatisticsConfig config = Config(c.fields);
    if (config.collection == StatisticsCollection::kImportance) continue;
    for (const DataType dtype : kFloatTypes) {
      const uint64_t count = ElementsOf(c.shape);
      const Bytes values = AnyPatterns(dtype, count, 50);
      TensorStatistics statistics = MakeStatistics(config, dtype, c.shape);
      for (const uint64_t cut : {uint64_t{0}, count / 3}) statistics.AddCounted(cut, cut == 0 ? count / 3 : count);
      std::vector<CountedBucket> buckets;
      for (const BucketRange& range : NaiveRanges(config, dtype, c.shape, values)) {
        buckets.push_back({OrderedKey(range.lowest), OrderedKey(range.highest), range.nonfinite});
      }
      if (config.collection == StatisticsCollection::kDistribution) {
        buckets[0].nonfinite = 0;  // the patterns know
        PatternCounts patterns{std::vector<uint64_t>(kPatterns), std::vector<uint64_t>(kPatterns),
                               std::vector<uint64_t>(kSignsAndExponents)};
        const uint64_t bytes = SizeBytes(dtype);
        for (uint64_t i = 0; i < count; ++i) {
          uint32_t bits = 0;
          std::memcpy(&bits, values.data() + i * bytes, bytes);
          const uint32_t pattern = bytes == 2 ? bits : bits >> 16;
          const uint64_t low = bytes == 2 ? 0 : bits & 0xffff;
          ++patterns.counts[pattern];
          patterns.low_sums[pattern] += low;
          patterns.low_squares[pattern >> 7] += low * low;
        }
        statistics.AddFound(patterns);
      }
      statistics.AddFound(buckets);
      EXPECT_EQ(Qcal(statistics), Qcal(StatisticsOf(config, dtype, c.shape, values))) << InfoOf(dtype).name;
    }
  }
}

TEST(TensorStatistics, ContributionsOfATensorMayHaveOtherLengths) {
  TensorStatistics statistics = StatisticsOf(std::vector<float>{1, 2, 3});
  ASSERT_TRUE(statistics.Merge(StatisticsOf(std::vector<float>{4})).ok());
  EXPECT_EQ(statistics.Total(), (BucketRange{4, 0, 1, 4}));
}

TEST(TensorStatistics, WhatDiffersDoesNotMerge) {
  const auto channels = [](const Shape& shape, DataType dtype, const char* axis) {
    return MakeStatistics(Config({{"grouping", "channel"}, {"axis", axis}}), dtype, shape);
  };
  TensorStatistics mine = channels({2, 3}, DataType::kFloat32, "-1");
  for (const TensorStatistics& other :
       {channels({2, 4}, DataType::kFloat32, "-1"), channels({2, 3}, DataType::kFloat16, "-1"),
        channels({2, 3}, DataType::kFloat32, "1"), MakeStatistics({}, DataType::kFloat32, {6})}) {
    const absl::Status status = mine.Merge(other);
    EXPECT_EQ(DetailsOf(status).reason, "INCOMPATIBLE_STATISTICS") << status;
  }
  EXPECT_TRUE(mine.Merge(channels({20, 3}, DataType::kFloat32, "-1")).ok());
}

TEST(TensorStatistics, AContributionOfAnotherRankMergesIfTheChannelsAreAsMany) {
  const StatisticsConfig config = Config({{"grouping", "channel"}});
  TensorStatistics mine = MakeStatistics(config, DataType::kFloat32, {2, 3});
  EXPECT_TRUE(mine.Merge(MakeStatistics(config, DataType::kFloat32, {5, 2, 3})).ok());
}

TEST(TensorStatistics, BeyondTheLimitNothingMerges) {
  TensorStatistics statistics = StatisticsOf(std::vector<float>(1 << 10, 1));
  absl::Status status;
  for (int doubling = 10; doubling < 48; ++doubling)
    ASSERT_TRUE((status = statistics.Merge(statistics)).ok()) << status;
  const Bytes before = Qcal(statistics);
  status = statistics.Merge(statistics);
  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(DetailsOf(status).reason, "STATISTICS_LIMIT");
  EXPECT_EQ(Qcal(statistics), before);
  EXPECT_EQ(statistics.Sum().Value(), 0x1p48);
}

TEST(TensorStatistics, RefusesShapesThatMakeNoBuckets) {
  const auto reason_of = [](const std::map<std::string, std::string>& fields, const Shape& shape) {
    const auto made = TensorStatistics::Make(Config(fields), DataType::kFloat32, shape);
    return made.ok() ? "" : DetailsOf(made.status()).reason;
  };
  EXPECT_EQ(reason_of({{"grouping", "channel"}, {"axis", "2"}}, {2, 3}), "INVALID_SHAPE");
  EXPECT_EQ(reason_of({{"grouping", "channel"}, {"axis", "-3"}}, {2, 3}), "INVALID_SHAPE");
  EXPECT_EQ(reason_of({{"grouping", "channel"}}, {1, (1 << 24) + 1}), "INVALID_SHAPE");
  EXPECT_EQ(reason_of({{"grouping", "group"}, {"group_size", "1"}}, {1 << 13, 1 << 13}), "INVALID_SHAPE");
  EXPECT_EQ(reason_of({}, {1ull << 32, 1ull << 32}), "INVALID_SHAPE");
  EXPECT_EQ(reason_of({}, {0, ~0ull}), "INVALID_SHAPE");
  EXPECT_EQ(reason_of({}, {}), "");
  EXPECT_EQ(reason_of({{"grouping", "channel"}}, {0, 8}), "");
  EXPECT_EQ(reason_of({{"grouping", "group"}, {"group_size", "3"}}, {}), "");
}

TEST(TensorStatistics, RefusesTypesThatAreNoFloats) {
  const auto made = TensorStatistics::Make({}, DataType::kInt8, Shape{4});
  EXPECT_EQ(DetailsOf(made.status()).reason, "INVALID_DTYPE");
}

TEST(TensorStatistics, MemoryStaysBelowItsBound) {
  for (const Case& c : kCases) {
    for (const DataType dtype : kFloatTypes) {
      const StatisticsConfig config = Config(c.fields);
      const uint64_t bound = *TensorStatistics::MemoryBytesMax(config, dtype, c.shape);
      TensorStatistics statistics = MakeStatistics(config, dtype, c.shape);
      statistics.Add(0, AnyPatterns(dtype, ElementsOf(c.shape), 8));
      EXPECT_LE(statistics.MemoryBytes(), bound);
      const size_t working = statistics.MemoryBytes();
      for (uint32_t seed = 20; seed < 40; ++seed) {
        statistics.Add(0, AnyPatterns(dtype, ElementsOf(c.shape), seed));
        ASSERT_TRUE(statistics.Merge(statistics).ok());
        EXPECT_LE(statistics.MemoryBytes(), bound);
      }
      EXPECT_LE(statistics.MemoryBytes(), working);
    }
  }
}

}  // namespace
}  // namespace quantd
