// Values of every kind, statistics of them in any cut and order, and the same statistics written down naively.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "kernels/calibrate/calibration_file.h"
#include "kernels/calibrate/tensor_statistics.h"
#include "kernels/format/value_types.h"

namespace quantd {

using Bytes = std::vector<std::byte>;
using Shape = std::vector<uint64_t>;

inline constexpr DataType kFloatTypes[] = {DataType::kFloat32, DataType::kFloat16, DataType::kBFloat16};
inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

inline uint64_t ElementsOf(const Shape& shape) {
  uint64_t elements = 1;
  for (const uint64_t extent : shape) elements *= extent;
  return elements;
}

inline Bytes BytesOf(DataType dtype, const std::vector<float>& values) {
  Bytes bytes(values.size() * SizeBytes(dtype));
  WithValues(dtype, [&]<class Values>(Values) {
    for (size_t i = 0; i < values.size(); ++i) {
      StoreUnaligned(bytes.data() + i * sizeof(typename Values::Bits), Values::Narrow(values[i]));
    }
  });
  return bytes;
}

inline std::vector<float> FloatsOf(DataType dtype, std::span<const std::byte> bytes) {
  std::vector<float> values;
  WithValues(dtype, [&]<class Values>(Values) {
    using Bits = typename Values::Bits;
    for (size_t i = 0; i < bytes.size(); i += sizeof(Bits)) {
      values.push_back(Values::Widen(LoadUnaligned<Bits>(bytes.data() + i)));
    }
  });
  return values;
}

inline std::vector<float> Normal(uint64_t count, uint32_t seed, float deviation = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> distribution(0, deviation);
  std::vector<float> values(count);
  for (float& value : values) value = distribution(random);
  return values;
}

// Every bit pattern is as likely: all exponents, both zeros, subnormals, infinities, NaN.
inline Bytes AnyPatterns(DataType dtype, uint64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  Bytes bytes(count * SizeBytes(dtype));
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

inline StatisticsConfig Config(std::map<std::string, std::string> fields) {
  const auto config = ParseStatisticsConfig(fields);
  EXPECT_TRUE(config.ok()) << config.status();
  return config.value_or(StatisticsConfig{});
}

inline TensorStatistics MakeStatistics(const StatisticsConfig& config, DataType dtype, const Shape& shape) {
  auto statistics = TensorStatistics::Make(config, dtype, shape);
  EXPECT_TRUE(statistics.ok()) << statistics.status();
  return *std::move(statistics);
}

inline TensorStatistics StatisticsOf(const StatisticsConfig& config, DataType dtype, const Shape& shape,
                                     std::span<const std::byte> values,
                                     const CountKernels& kernels = BestCountKernels()) {
  TensorStatistics statistics = MakeStatistics(config, dtype, shape);
  statistics.Add(0, values, kernels);
  statistics.Compact();
  return statistics;
}

inline TensorStatistics StatisticsOf(const std::vector<float>& values, DataType dtype = DataType::kFloat32) {
  return StatisticsOf({}, dtype, {values.size()}, BytesOf(dtype, values));
}

inline Bytes Qcal(const TensorStatistics& statistics) {
  return ToQcal({statistics.config(), {{"tensor", statistics}}});
}

// The ranges of the buckets, an element at a time and by its coordinates.
inline std::vector<BucketRange> NaiveRanges(const StatisticsConfig& config, DataType dtype, const Shape& shape,
                                            std::span<const std::byte> bytes) {
  std::map<uint64_t, BucketRange> ranges;
  const std::vector<float> values = FloatsOf(dtype, bytes);
  for (uint64_t i = 0; i < values.size(); ++i) {
    uint64_t bucket = 0;
    if (config.grouping == StatisticsGrouping::kChannel) {
      const size_t axis = config.axis < 0 ? shape.size() + config.axis : config.axis;
      uint64_t rest = i;
      for (size_t k = shape.size() - 1; k > axis; --k) rest /= shape[k];
      bucket = rest % shape[axis] / config.group_size;
    } else if (config.grouping == StatisticsGrouping::kGroup) {
      const uint64_t groups = (shape.back() + config.group_size - 1) / config.group_size;
      bucket = i / shape.back() * groups + i % shape.back() / config.group_size;
    }
    BucketRange& range = ranges.try_emplace(bucket, BucketRange{0, 0, kInfinity, -kInfinity}).first->second;
    ++range.count;
    if (!std::isfinite(values[i])) {
      ++range.nonfinite;
      continue;
    }
    range.lowest = std::min(range.lowest, values[i]);
    range.highest = std::max(range.highest, values[i]);
  }
  std::vector<BucketRange> in_order;
  for (const auto& [bucket, range] : ranges) in_order.push_back(range);
  return in_order;
}

struct Case {
  std::map<std::string, std::string> fields;
  Shape shape;
};

// Every grouping with rows that fill registers and rows that do not.
inline const Case kCases[] = {
    {{{"grouping", "tensor"}}, {1000}},
    {{{"grouping", "tensor"}, {"collect", "range"}}, {7, 333}},
    {{{"grouping", "tensor"}, {"collect", "importance"}}, {1025}},
    {{{"grouping", "channel"}, {"axis", "-1"}}, {23, 64}},
    {{{"grouping", "channel"}, {"axis", "-1"}, {"collect", "importance"}}, {3, 5, 77}},
    {{{"grouping", "channel"}, {"axis", "-1"}, {"group_size", "4"}}, {9, 30}},
    {{{"grouping", "channel"}, {"axis", "0"}}, {13, 129}},
    {{{"grouping", "channel"}, {"axis", "1"}, {"group_size", "2"}, {"collect", "importance"}}, {4, 7, 33}},
    {{{"grouping", "group"}, {"group_size", "128"}}, {5, 300}},
    {{{"grouping", "group"}, {"group_size", "16"}, {"collect", "importance"}}, {3, 50}},
};

}  // namespace quantd
