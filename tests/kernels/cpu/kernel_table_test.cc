// The ranges and scales of every target are those of the portable loops, and nothing is written beside them.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/cpu/kernel_table.h"
#include "tests/kernels/cpu/kernel_data.h"

namespace quantd {
namespace {

using KernelTableTest = TargetTest;

// All but the first, which is what they are compared with.
INSTANTIATE_TEST_SUITE_P(Targets, KernelTableTest,
                         ::testing::ValuesIn(SupportedKernels().begin() + 1, SupportedKernels().end()),
                         [](const auto& info) { return std::string(info.param->target); });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(KernelTableTest);

// ---- Ranges ----

TEST_P(KernelTableTest, AbsmaxIsThatOfThePortableLoop) {
  for (size_t type = 0; type < kFloatTypeCount; ++type) {
    for (const Data data : kAllData) {
      for (const uint64_t run : kRunLengths) {
        for (const uint64_t count : ElementCounts(run, 8, random_)) {
          Guarded values(count * ValueBytes(type), random_() % 8);
          FillValues(type, data, random_, count, values.data());
          std::vector<float> expected(count / run + 3, -7.0f);
          std::vector<float> actual = expected;
          kBaselineKernels.absmax[type]({values.data(), count, run}, expected.data() + 1);
          kernels().absmax[type]({values.data(), count, run}, actual.data() + 1);
          ASSERT_EQ(std::memcmp(actual.data(), expected.data(), expected.size() * 4), 0)
              << Name("absmax", 0, 99, type) << ", " << count << " in runs of " << run;
        }
      }
    }
  }
}

TEST_P(KernelTableTest, RangesAreThoseOfThePortableLoop) {
  for (size_t type = 0; type < kFloatTypeCount; ++type) {
    for (const Data data : {Data::kOrdinary, Data::kEdges}) {
      for (const uint64_t run : kRunLengths) {
        for (const uint64_t count : ElementCounts(run, 8, random_)) {
          Guarded values(count * ValueBytes(type), random_() % 8);
          FillValues(type, data, random_, count, values.data());
          std::vector<float> expected((count / run + 3) * 2, -7.0f);
          std::vector<float> actual = expected;
          const size_t half = expected.size() / 2;
          kBaselineKernels.range[type]({values.data(), count, run}, expected.data() + 1, expected.data() + half);
          kernels().range[type]({values.data(), count, run}, actual.data() + 1, actual.data() + half);
          ASSERT_EQ(std::memcmp(actual.data(), expected.data(), expected.size() * 4), 0)
              << Name("range", 0, 99, type) << ", " << count << " in runs of " << run;
        }
      }
    }
  }
}

// ---- Scales ----

std::vector<ScaleParameters> AllParameters() {
  std::vector<ScaleParameters> all;
  const struct {
    float divisor;
    int32_t largest_exponent;
    uint32_t mantissa_bits;
  } elements[] = {{1, 2, 1},   {6, 2, 1},    {448, 8, 3}, {57344, 15, 2},
                  {127, 2, 1}, {7.5f, 8, 3}, {255, 8, 3}, {15, 2, 1}};
  for (const auto& element : elements) {
    for (const float global_scale : {1.0f, 0.3f, 1234.5f, 0x1p-110f}) {
      for (const float highest_code : {7.0f, 127.0f}) {
        ScaleParameters parameters;
        parameters.divisor = element.divisor;
        parameters.largest_exponent = element.largest_exponent;
        parameters.mantissa_bits = element.mantissa_bits;
        parameters.global_scale = global_scale;
        parameters.lowest_code = -highest_code - 1;
        parameters.highest_code = highest_code;
        all.push_back(parameters);
      }
    }
  }
  return all;
}

float AbsmaxOf(Data data, Random& random) {
  static const std::vector<float> edges = MakeEdges();
  switch (data) {
    case Data::kOrdinary:
      return std::fabs(OrdinaryFloat(random)) * std::ldexp(1.0f, static_cast<int>(random() % 20) - 15);
    case Data::kEdges:
      return random() % 2 == 0 ? std::fabs(edges[random() % edges.size()])
                               : std::bit_cast<float>(static_cast<uint32_t>(random() % 255 << 23) +
                                                      static_cast<uint32_t>(random() % 2));
    case Data::kAllBits:
      return std::fabs(FiniteFloat(random));
    case Data::kNonfinite:
      return random() % 20 == 0 ? kInfinity : random() % 20 == 0 ? std::nanf("") : std::fabs(FiniteFloat(random));
  }
  return 0;
}

constexpr bool IsAsymmetric(size_t method) {
  return method == static_cast<size_t>(ScaleMethod::kStrictAsymmetric) ||
         method == static_cast<size_t>(ScaleMethod::kCompressedTensorsAsymmetric);
}

TEST_P(KernelTableTest, ScalesAreThoseOfThePortableLoop) {
  for (size_t method = 0; method < kScaleMethodCount; ++method) {
    for (size_t type = 0; type < kFloatTypeCount; ++type) {
      if (kBaselineKernels.scale[method][type] == nullptr) continue;
      for (const ScaleParameters& parameters : AllParameters()) {
        for (const Data data : kAllData) {
          const size_t count = random_() % 100;
          std::vector<float> absmax(count), lowest(count), highest(count);
          for (size_t i = 0; i < count; ++i) {
            absmax[i] = AbsmaxOf(IsAsymmetric(method) && data == Data::kNonfinite ? Data::kAllBits : data, random_);
            // One side of the range is the absmax.
            lowest[i] = random_() % 4 == 0 ? 0.0f : -absmax[i];
            highest[i] = random_() % 4 == 0 ? 0.0f : absmax[i] * static_cast<float>(random_() % 4) / 3;
          }
          Guarded outputs[2][3] = {{{count * 4, 0}, {count * 4, 0}, {count * 4, 0}},
                                   {{count * 4, 0}, {count * 4, 0}, {count * 4, 0}}};
          for (int side = 0; side < 2; ++side) {
            const bool asymmetric = IsAsymmetric(method);
            const ScaleJob job = {count,
                                  absmax.data(),
                                  asymmetric ? lowest.data() : nullptr,
                                  asymmetric ? highest.data() : nullptr,
                                  &parameters,
                                  outputs[side][0].data(),
                                  reinterpret_cast<float*>(outputs[side][1].data()),
                                  asymmetric ? reinterpret_cast<float*>(outputs[side][2].data()) : nullptr};
            (side == 0 ? kBaselineKernels : kernels()).scale[method][type](job);
          }
          for (int part = 0; part < 3; ++part) {
            ASSERT_TRUE(outputs[0][part] == outputs[1][part])
                << Name("scale", method, 99, type) << ", part " << part << ", divisor " << parameters.divisor
                << ", at byte " << outputs[0][part].FirstDifference(outputs[1][part]) << " of " << count << " scales";
          }
        }
      }
    }
  }
}

// The reciprocal's mantissas all have 23 bits of their own.
TEST_P(KernelTableTest, ScalesOfBitsandbytesAreThoseOfThePortableLoopForEveryMantissa) {
  constexpr size_t kCount = 1 << 15;
  const ScaleParameters parameters;
  const auto method = static_cast<size_t>(ScaleMethod::kBitsandbytesAbsmax);
  std::vector<float> absmax(kCount), expected(kCount), actual(kCount);
  Bytes stored(kCount * 4);
  for (uint32_t begin = 0; begin < 1u << 23; begin += kCount) {
    const uint32_t exponent = static_cast<uint32_t>(random_() % 255) << 23;
    for (uint32_t i = 0; i < kCount; ++i) absmax[i] = std::bit_cast<float>(exponent | (begin + i));
    ScaleJob job = {kCount, absmax.data(), nullptr, nullptr, &parameters, stored.data(), expected.data(), nullptr};
    kBaselineKernels.scale[method][0](job);
    job.factors = actual.data();
    kernels().scale[method][0](job);
    ASSERT_EQ(std::memcmp(actual.data(), expected.data(), kCount * 4), 0) << begin;
  }
}

TEST_P(KernelTableTest, RestoredScalesAreThoseOfThePortableLoop) {
  for (size_t method = 0; method < kScaleMethodCount; ++method) {
    for (size_t type = 0; type < kFloatTypeCount; ++type) {
      if (kBaselineKernels.restore_scale[method][type] == nullptr) continue;
      for (const float global_scale : {1.0f, 0.3f, 1234.5f}) {
        ScaleParameters parameters;
        parameters.global_scale = global_scale;
        const size_t count = 500 + random_() % 100;
        Bytes stored(count * 4);
        for (std::byte& byte : stored) byte = static_cast<std::byte>(random_());
        std::vector<float> expected(count + 2, -7.0f);
        std::vector<float> actual = expected;
        kBaselineKernels.restore_scale[method][type]({count, stored.data(), &parameters, expected.data() + 1});
        kernels().restore_scale[method][type]({count, stored.data(), &parameters, actual.data() + 1});
        ASSERT_EQ(std::memcmp(actual.data(), expected.data(), expected.size() * 4), 0)
            << Name("restore_scale", method, 99, type);
      }
    }
  }
}

}  // namespace
}  // namespace quantd
