// All 2^32 floats through every encoder of every target, and a billion quotients. Minutes; one case is one encoder, so
// that GTEST_TOTAL_SHARDS spreads them over processors.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <ostream>

#include "kernels/format/format_list.h"
#include "tests/exhaustive/division_check.h"
#include "tests/exhaustive/encoders.h"

namespace quantd::testing {
namespace {

constexpr uint64_t kFloats = uint64_t{1} << 32;
constexpr uint64_t kChunk = uint64_t{1} << 20;

// Calls function(first place, bits, codes) for all floats in the order of their values, a chunk at a time.
template <class Function>
void ForEachChunk(const Staircase& stairs, Function function) {
  std::vector<uint32_t> bits(kChunk);
  std::vector<uint16_t> codes(kChunk);
  for (uint64_t begin = 0; begin < kFloats; begin += kChunk) {
    for (uint64_t i = 0; i < kChunk; ++i) bits[i] = BitsAt(static_cast<uint32_t>(begin + i));
    FillCodes(stairs, static_cast<uint32_t>(begin), codes);
    function(bits, codes);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

template <class Format>
class AllFloats : public ::testing::Test {};

using LongFormats =
    ::testing::Types<Nf4, Fp4Bnb, Fp4E2m1, Fp4E3m0, Int4, Int8, Fp8E4m3, Fp8E5m2, Dynamic8, BFloat16, Float16>;
TYPED_TEST_SUITE(AllFloats, LongFormats);

template <class Encode>
void ExpectFollows(const Staircase& stairs, Encode encode) {
  std::vector<uint16_t> actual(kChunk);
  ForEachChunk(stairs,
               [&](const auto& bits, const auto& codes) {
                 for (uint64_t i = 0; i < kChunk; ++i)
                   actual[i] = static_cast<uint16_t>(encode(std::bit_cast<float>(bits[i])));
                 ASSERT_TRUE(actual == codes)
                     << "first at bits " << std::hex
                     << bits[static_cast<size_t>(std::ranges::mismatch(actual, codes).in1 - actual.begin())];
               });
}

TYPED_TEST(AllFloats, FollowTheCodecsStaircase) {
  ExpectFollows(StaircaseOf(TypeParam::kElement), [](float value) { return TypeParam::Encode(value); });
}

template <class Format>
class AllFloatsIeee : public ::testing::Test {};
using IeeeFormats = ::testing::Types<Fp8E4m3, Fp8E5m2>;
TYPED_TEST_SUITE(AllFloatsIeee, IeeeFormats);

TYPED_TEST(AllFloatsIeee, FollowTheCodecsStaircase) {
  ExpectFollows(StaircaseOf(TypeParam::kElement, {.ieee_overflow = true}),
                [](float value) { return TypeParam::EncodeIeee(value); });
}

struct EncoderOfTarget {
  const KernelTable* kernels;
  const Encoder* encoder;
};

std::vector<EncoderOfTarget> EveryEncoderOfEveryTarget() {
  std::vector<EncoderOfTarget> all;
  for (const KernelTable* const kernels : SupportedKernels()) {
    for (const Encoder& encoder : AllEncoders()) all.push_back({kernels, &encoder});
  }
  return all;
}

class AllFloatsThrough : public ::testing::TestWithParam<EncoderOfTarget> {};

INSTANTIATE_TEST_SUITE_P(Targets, AllFloatsThrough, ::testing::ValuesIn(EveryEncoderOfEveryTarget()),
                         [](const auto& info) {
                           std::string name =
                               info.param.encoder->name() + "_on_" + std::string(info.param.kernels->target);
                           std::ranges::replace(name, ' ', '_');
                           return name;
                         });

TEST_P(AllFloatsThrough, FollowTheStaircase) {
  const Encoder& encoder = *GetParam().encoder;
  std::vector<std::byte> actual;
  std::vector<std::byte> expected;
  ForEachChunk(encoder.stairs,
               [&](const auto& bits, const auto& codes) {
                 Encode(*GetParam().kernels, encoder, DataType::kFloat32, bits.data(), kChunk, actual);
                 Pack(encoder, codes, expected);
                 ASSERT_TRUE(actual == expected)
                     << "first near bits " << std::hex
                     << bits[static_cast<size_t>(std::ranges::mismatch(actual, expected).in1 - actual.begin()) * 8 /
                             static_cast<size_t>(encoder.bits())];
               });
}

class Quotients : public ::testing::TestWithParam<const KernelTable*> {};

INSTANTIATE_TEST_SUITE_P(Targets, Quotients, ::testing::ValuesIn(SupportedKernels().begin(), SupportedKernels().end()),
                         [](const auto& info) { return std::string(info.param->target); });

TEST_P(Quotients, AreIeeesInABillionPairs) { ExpectDividesAsIeee(*GetParam(), 1'000'000'000, 1); }

}  // namespace
}  // namespace quantd::testing
