// Every scheme on every backend beside the slow reference: what a backend must pass to be one.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/cpu/cpu_backend.h"
#include "tests/support/scheme_check.h"

namespace quantd::testing {
namespace {

using Overrides = std::map<std::string, std::string>;

// Every preset with each value of each of its overrides, one at a time, and with every grouping that it can have.
// By their text, so that none comes twice.
std::map<std::string, SchemeRequest> AllRequests() {
  std::map<std::string, SchemeRequest> requests;
  for (const PresetInfo& preset : AllPresets()) {
    for (const OverrideInfo& info : preset.overrides) {
      for (const std::string& value : info.values) {
        for (const Overrides& context :
             {Overrides{}, Overrides{{"grouping", "block"}}, Overrides{{"grouping", "group"}},
              Overrides{{"grouping", "tile"}}, Overrides{{"grouping", "none"}}, Overrides{{"scale_dtype", "none"}},
              Overrides{{"double_quant", "true"}}, Overrides{{"range", "mse"}}}) {
          SchemeRequest request{preset.name, context, 0};
          request.overrides[info.name] = value;
          if (info.name == "grouping" && value == "none") request.overrides["scale_dtype"] = "none";
          if (info.name == "overflow")
            request.overrides.merge(Overrides{{"grouping", "none"}, {"scale_dtype", "none"}});
          const auto scheme = ResolveScheme(request);
          if (scheme.ok()) requests.emplace(Text(FullyResolved(*scheme)), FullyResolved(*scheme));
        }
      }
    }
  }
  return requests;
}

// Finite values whose rows and runs have very different magnitudes; zeros of both signs, halves, subnormals, extremes.
Bytes EdgyValues(std::mt19937_64& random, uint64_t count, DataType dtype) {
  std::vector<float> values = RandomTensor(random, count, 16);
  for (uint64_t i = 0; i < count; ++i) {
    switch (random() % 24) {
      case 0:
        values[i] = std::copysign(0.0f, values[i]);
        break;
      case 1:
        values[i] = std::nearbyint(values[i] * 16) / 32;
        break;
      case 2:
        values[i] = std::ldexp(1.0f, static_cast<int>(random() % 40) - 30);
        break;
    }
  }
  const float largest = dtype == DataType::kFloat16 ? 65504.0f : 0x1.fep127f;
  for (float& value : values) value = std::clamp(value, -largest, largest);
  return Narrowed(values, dtype);
}

// The reference is slow, so it computes once for all targets.
class Conformance : public ::testing::Test {
 protected:
  void ExpectEqualsReference(const SchemeRequest& request, DataType dtype, const std::vector<uint64_t>& shape,
                             const Bytes& values, uint64_t units_per_batch, const ReferenceChannels& channels = {}) {
    testing::ExpectEqualsReference(backends_, request, dtype, shape, values, units_per_batch, channels);
  }

  const std::vector<std::unique_ptr<Backend>> backends_ = EveryTarget();
};

// Shapes for every scheme: groups of 4096 need wide rows, and ragged ones go where no group forbids it.
std::vector<std::vector<uint64_t>> ShapesFor(const Scheme& scheme) {
  if (scheme.grouping == Grouping::kGroup) {
    const uint64_t group = scheme.group_size;
    return {{3, group}, {2, 5, 2 * group}, {17, 3 * group}, {0, group}};
  }
  const bool nested = scheme.double_quant;
  const uint64_t block = scheme.grouping == Grouping::kBlock ? scheme.block_size : 64;
  return {{}, {1}, {7}, {3, 5}, {2, 3, 129}, {130, 384}, {nested ? 257 * block + 5 : 3 * block + 1}, {9, 4101}, {0, 7}};
}

TEST_F(Conformance, EverySchemeEqualsTheReference) {
  constexpr uint64_t kSeed = 20261124;
  std::mt19937_64 random = MakeRandom(kSeed);
  size_t schemes = 0;
  for (const auto& [text, request] : AllRequests()) {
    SCOPED_TRACE(text + ", seed " + std::to_string(kSeed));
    ++schemes;
    for (const auto& shape : ShapesFor(ResolveScheme(request).value())) {
      uint64_t count = 1;
      for (const uint64_t extent : shape) count *= extent;
      const DataType dtype = kFloatTypes[random() % std::size(kFloatTypes)];
      SCOPED_TRACE(std::string(InfoOf(dtype).name) + " of " + ::testing::PrintToString(shape));
      ExpectEqualsReference(request, dtype, shape, EdgyValues(random, count, dtype), 1 + random() % 300);
      if (HasFatalFailure()) return;
    }
  }
  EXPECT_GT(schemes, 200u);
}

TEST_F(Conformance, EveryPresetEqualsTheReferenceOnEvery16BitValue) {
  for (const PresetInfo& preset : AllPresets()) {
    for (const DataType dtype : {DataType::kFloat16, DataType::kBFloat16}) {
      SCOPED_TRACE(preset.name + " " + std::string(InfoOf(dtype).name));
      const uint32_t infinity = dtype == DataType::kFloat16 ? 0x7c00 : 0x7f80;
      std::vector<uint16_t> patterns;
      for (uint32_t bits = 0; bits <= 0xffff; ++bits) {
        if ((bits & 0x7fff) < infinity) patterns.push_back(static_cast<uint16_t>(bits));
      }
      patterns.resize(patterns.size() / 256 * 256);
      ExpectEqualsReference({preset.name, {}, 0}, dtype, {patterns.size() / 256, 256}, BytesOf(patterns), UINT64_MAX);
      std::mt19937_64 random = MakeRandom(7);
      std::ranges::shuffle(patterns, random);
      ExpectEqualsReference({preset.name, {}, 0}, dtype, {patterns.size() / 256, 256}, BytesOf(patterns), UINT64_MAX);
      if (HasFatalFailure()) return;
    }
  }
}

// One for each channel: some far from 1, some importances 0.
ReferenceChannels RandomChannels(std::mt19937_64& random, const Scheme& scheme, uint64_t channels) {
  ReferenceChannels arrays;
  for (uint64_t i = 0; i < channels; ++i) {
    arrays.smoothing_factors.push_back(
        std::ldexp(1.0f + static_cast<float>(random() % 1000) / 1000, static_cast<int>(random() % 8) - 5));
    const float weight = std::ldexp(static_cast<float>(random() % 1000), static_cast<int>(random() % 20) - 10);
    if (scheme.range == RangeChoice::kMse) arrays.importance.push_back(i % 5 == 0 ? 0.0f : weight);
  }
  return arrays;
}

TEST_F(Conformance, EveryPresetSmoothedAndWeightedEqualsTheReference) {
  constexpr uint64_t kSeed = 20261127;
  std::mt19937_64 random = MakeRandom(kSeed);
  std::vector<SchemeRequest> requests;
  for (const PresetInfo& preset : AllPresets()) {
    requests.push_back({preset.name, {}, 0});
    for (const char* const grouping : {"channel", "block", "group", "tile"}) {
      const SchemeRequest searched{preset.name, {{"range", "mse"}, {"grouping", grouping}}, 0};
      if (ResolveScheme(searched).ok()) requests.push_back(searched);
    }
  }
  for (const SchemeRequest& request : requests) {
    const Scheme scheme = ResolveScheme(request).value();
    for (const auto& shape : ShapesFor(scheme)) {
      const DataType dtype = kFloatTypes[random() % std::size(kFloatTypes)];
      SCOPED_TRACE(Text(request) + " " + std::string(InfoOf(dtype).name) + " of " + ::testing::PrintToString(shape) +
                   ", seed " + std::to_string(kSeed));
      uint64_t count = 1;
      for (const uint64_t extent : shape) count *= extent;
      std::vector<float> values = RandomTensor(random, count, 16);
      // Products stay in the type's range.
      for (float& value : values) value = std::clamp(value, -4096.0f, 4096.0f);
      ExpectEqualsReference(request, dtype, shape, Narrowed(values, dtype), 1 + random() % 300,
                            RandomChannels(random, scheme, shape.empty() ? 1 : shape.back()));
      if (HasFatalFailure()) return;
    }
  }
}

// Every preset that does not reject NaN and infinity, with every scale rule and overflow it has.
std::vector<SchemeRequest> NonfiniteRequests() {
  std::vector<SchemeRequest> requests;
  for (const auto& preset : AllPresets()) {
    for (const char* const policy : {"saturate", "library"}) {
      const SchemeRequest request{preset.name, {{"nonfinite", policy}}, 0};
      if (!ResolveScheme(request).ok()) continue;
      requests.push_back(request);
      for (const OverrideInfo& info : preset.overrides) {
        if (info.name != "scale_rule" && info.name != "overflow" && info.name != "grouping") continue;
        for (const std::string& value : info.values) {
          requests.push_back(request);
          requests.back().overrides[info.name] = value;
        }
      }
    }
  }
  return requests;
}

// NaN, infinities of both signs and a NaN with a sign, in every position of a row of 128, alone or two of them.
TEST_F(Conformance, NonfiniteValuesInEveryPositionEqualTheReference) {
  std::mt19937_64 random = MakeRandom(3);
  for (const SchemeRequest& request : NonfiniteRequests()) {
    for (const DataType dtype : kFloatTypes) {
      SCOPED_TRACE(Text(request) + " " + std::string(InfoOf(dtype).name));
      constexpr uint64_t kColumns = 128;
      std::vector<float> values(4 * kColumns * kColumns);
      for (float& value : values) value = static_cast<float>(static_cast<int64_t>(random() % 2001) - 1000) / 256;
      const float special[] = {NAN, -NAN, INFINITY, -INFINITY};
      for (uint64_t row = 0; row < 4 * kColumns; ++row) {
        values[row * kColumns + row / 4] = special[row % 4];
        if (row % 8 < 4) values[row * kColumns + (row / 4 + 5) % kColumns] = special[random() % 4];
      }
      const Bytes bytes = Narrowed(values, dtype);
      ExpectEqualsReference(request, dtype, {4 * kColumns, kColumns}, bytes, 5);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_F(Conformance, ErrorMetricsAreThoseOfTheDecodedValuesInAnyBatches) {
  std::mt19937_64 random = MakeRandom(5);
  for (const PresetInfo& preset : AllPresets()) {
    SCOPED_TRACE(preset.name);
    const std::vector<uint64_t> shape = {40, 384};
    std::vector<float> ordinary(40 * 384);
    for (float& value : ordinary) value = std::normal_distribution<float>()(random);
    const Bytes values = Narrowed(ordinary, DataType::kBFloat16);
    const Plan plan = PlanOrDie({preset.name, {}, 0}, Direction::kQuantize, DataType::kBFloat16, shape);
    const Plan back = PlanOrDie(FullyResolved(plan.scheme), Direction::kDequantize, DataType::kFloat32, shape);
    for (const auto& backend : backends_) {
      const TensorRun whole = RunTensor(*backend, plan, {{"values", values}}, UINT64_MAX, true);
      const auto decoded = ValuesOf<float>(RunTensor(*backend, back, whole.outputs).outputs.at("values"));
      const auto original = Widened(values, DataType::kBFloat16);
      long double squared_error = 0;
      double largest = 0;
      for (size_t i = 0; i < decoded.size(); ++i) {
        const double error = static_cast<double>(original[i]) - decoded[i];
        squared_error += static_cast<long double>(error) * error;
        largest = std::max(largest, std::fabs(error));
      }
      const ErrorSums& errors = whole.result.errors;
      EXPECT_EQ(errors.count, decoded.size());
      EXPECT_EQ(errors.largest_error, largest);
      const auto expected = static_cast<double>(squared_error);
      EXPECT_NEAR(errors.squared_error.Value(), expected, expected * 1e-12);

      const ErrorSums split = RunTensor(*backend, plan, {{"values", values}}, 3, true).result.errors;
      EXPECT_EQ(split.squared_error.Value(), errors.squared_error.Value());
      EXPECT_EQ(split.squared_value.Value(), errors.squared_value.Value());
    }
  }
}

}  // namespace
}  // namespace quantd::testing
