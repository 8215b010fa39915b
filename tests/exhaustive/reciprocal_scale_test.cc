// bitsandbytes' scales of every mantissa: a target may compute the approximate reciprocal in its own way.
#include <gtest/gtest.h>

#include <bit>
#include <vector>

#include "kernels/cpu/kernel_table.h"
#include "kernels/format/bitsandbytes_scales.h"

namespace quantd::testing {
namespace {

constexpr uint32_t kMantissas = 1 << 23;

class ReciprocalScales : public ::testing::TestWithParam<const KernelTable*> {
 protected:
  // `expected_factor` of an absmax is the factor of every mantissa with that exponent.
  template <class Function>
  void ExpectFactors(ScaleMethod method, uint32_t exponent, Function expected_factor) {
    std::vector<float> absmax(kMantissas);
    for (uint32_t mantissa = 0; mantissa < kMantissas; ++mantissa) {
      absmax[mantissa] = std::bit_cast<float>(exponent << 23 | mantissa);
    }
    if (exponent == 0xff) absmax.resize(1);  // infinity: NaN is not an absmax
    const ScaleParameters parameters;
    std::vector<float> factors(absmax.size());
    std::vector<float> stored(absmax.size());
    GetParam()->scale[static_cast<size_t>(method)][FloatTypeIndex(DataType::kFloat32)](
        {.run_count = absmax.size(),
         .absmax = absmax.data(),
         .lowest = nullptr,
         .highest = nullptr,
         .parameters = &parameters,
         .stored = reinterpret_cast<std::byte*>(stored.data()),
         .factors = factors.data(),
         .zeros = nullptr});
    for (size_t i = 0; i < absmax.size(); ++i) {
      ASSERT_EQ(std::bit_cast<uint32_t>(factors[i]), std::bit_cast<uint32_t>(expected_factor(absmax[i])))
          << std::hexfloat << absmax[i];
      ASSERT_EQ(std::bit_cast<uint32_t>(stored[i]), std::bit_cast<uint32_t>(FlushToZero(absmax[i])))
          << std::hexfloat << absmax[i];
    }
  }

  // Subnormal, the smallest, ordinary, the last with a normal reciprocal, those whose reciprocal is flushed, infinity.
  static constexpr uint32_t kExponents[] = {0, 1, 127, 252, 253, 254, 255};
};

INSTANTIATE_TEST_SUITE_P(Targets, ReciprocalScales,
                         ::testing::ValuesIn(SupportedKernels().begin(), SupportedKernels().end()),
                         [](const auto& info) { return std::string(info.param->target); });

TEST_P(ReciprocalScales, OfBlocksAreTheInstructionsAtEveryMantissa) {
  for (const uint32_t exponent : kExponents) {
    ExpectFactors(ScaleMethod::kBitsandbytesAbsmax, exponent,
                  [](float absmax) { return ApproxReciprocal(FlushToZero(absmax)); });
  }
}

TEST_P(ReciprocalScales, OfRowsAre127TimesTheInstructionsAtEveryMantissa) {
  for (const uint32_t exponent : kExponents) {
    ExpectFactors(ScaleMethod::kBitsandbytesRow, exponent,
                  [](float absmax) { return MultiplyFtz(127.0f, ApproxReciprocal(FlushToZero(absmax))); });
  }
}

}  // namespace
}  // namespace quantd::testing
