// The codes and values of every target are those of the portable loops, and nothing is written beside them.
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

using KernelCodesTest = TargetTest;

// All but the first, which is what they are compared with.
INSTANTIATE_TEST_SUITE_P(Targets, KernelCodesTest,
                         ::testing::ValuesIn(SupportedKernels().begin() + 1, SupportedKernels().end()),
                         [](const auto& info) { return std::string(info.param->target); });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(KernelCodesTest);

// ---- Codes ----

// kOfValues: values are made for the factor, so that what is encoded lies around the edges of codes.
enum class Factors { kOne, kOfRun, kPowersOfTwo, kAnyFinite, kOfValues, kPowersOfTwoOfValues };
constexpr Factors kAllFactors[] = {Factors::kOne,       Factors::kOfRun,    Factors::kPowersOfTwo,
                                   Factors::kAnyFinite, Factors::kOfValues, Factors::kPowersOfTwoOfValues};
constexpr bool AreOfValues(Factors factors) { return factors >= Factors::kOfValues; }

// `absmax` of the run becomes the element's largest level, or what else a factor may be.
float FactorOf(Factors factors, bool divides, float absmax, float largest, Random& random) {
  switch (factors) {
    case Factors::kOne:
      return 1.0f;
    case Factors::kOfRun:
      return divides ? absmax / largest : largest / absmax;
    case Factors::kPowersOfTwo:
      return std::ldexp(1.0f, static_cast<int>(random() % 277) - 149);
    case Factors::kAnyFinite:
      return random() % 10 == 0 ? kInfinity : random() % 10 == 0 ? 0.0f : FiniteFloat(random);
    case Factors::kOfValues:
      return std::ldexp(1.0f + static_cast<float>(random() % 4096) / 4096, static_cast<int>(random() % 16) - 8);
    case Factors::kPowersOfTwoOfValues:
      return std::ldexp(1.0f, static_cast<int>(random() % 40) - 20);
  }
  return 0;
}

class EncodeCase {
 public:
  EncodeCase(size_t transform, size_t element, size_t type)
      : transform_(transform), info_(kFormats[element]), type_(type) {}

  void ExpectSameCodes(const KernelTable& kernels, Data data, Factors kind, uint64_t run, uint64_t count,
                       Random& random) {
    Guarded values(count * ValueBytes(type_), random() % 8);
    FillValues(type_, data, random, count, values.data());
    const size_t runs = (count + run - 1) / run;
    std::vector<float> absmax(runs), factors(runs), zeros(runs);
    kBaselineKernels.absmax[type_]({values.data(), count, run}, absmax.data());
    const bool divides = transform_ >= static_cast<size_t>(Transform::kDivide);
    for (size_t i = 0; i < runs; ++i) {
      factors[i] = FactorOf(kind, divides, absmax[i], info_.largest, random);
      // Factors are not NaN, and those that multiply small floats are positive or 0.
      if (std::isnan(factors[i])) factors[i] = 1.0f;
      if (AreOfValues(kind)) {
        MultiplyValues(type_, divides ? factors[i] : 1 / factors[i], std::min(run, count - i * run),
                       values.data() + i * run * ValueBytes(type_));
      }
      zeros[i] = static_cast<float>(static_cast<int>(random() % 256) - 128);
    }
    const bool is_integer = info_.kind == ElementKind::kInteger;
    EncodeJob job = {values.data(), count, run, factors.data(), zeros.data()};
    job.highest = info_.largest;
    job.lowest = is_integer && random() % 2 == 0 ? -info_.largest - 1 : -info_.largest;
    job.code_xor = is_integer && random() % 2 == 0 ? 1u << (info_.bits - 1) : 0;
    job.unsigned_zero = info_.kind == ElementKind::kMiniFloat && random() % 2 == 0;
    job.ieee_overflow = info_.kind == ElementKind::kMiniFloat && random() % 8 == 0;
    const size_t code_bytes = (count * static_cast<size_t>(info_.bits) + 7) / 8;
    const size_t misalignment = random() % 8;
    Guarded expected(code_bytes, misalignment);
    Guarded actual(code_bytes, misalignment);
    job.codes = expected.data();
    kBaselineKernels.encode[transform_][element()][type_](job);
    job.codes = actual.data();
    kernels.encode[transform_][element()][type_](job);
    ASSERT_TRUE(actual == expected) << Name("encode", transform_, element(), type_) << ", data "
                                    << static_cast<int>(data) << ", factors " << static_cast<int>(kind) << ", " << count
                                    << " in runs of " << run << ", at byte " << expected.FirstDifference(actual);
  }

  bool exists() const { return kBaselineKernels.encode[transform_][element()][type_] != nullptr; }
  int bits() const { return info_.bits; }

 private:
  size_t element() const { return static_cast<size_t>(info_.element); }

  size_t transform_;
  const FormatInfo& info_;
  size_t type_;
};

TEST_P(KernelCodesTest, CodesAreThoseOfThePortableLoop) {
  for (size_t transform = 0; transform < kTransformCount; ++transform) {
    for (size_t element = 0; element < kFormats.size(); ++element) {
      for (size_t type = 0; type < kFloatTypeCount; ++type) {
        EncodeCase encode(transform, element, type);
        ASSERT_EQ(encode.exists(), kernels().encode[transform][element][type] != nullptr);
        if (!encode.exists()) continue;
        for (const uint64_t run : kRunLengths) {
          for (const uint64_t count : ElementCounts(run, encode.bits(), random_)) {
            for (const Data data : kAllData) {
              for (const Factors factors : kAllFactors) {
                encode.ExpectSameCodes(kernels(), data, factors, run, count, random_);
                if (HasFatalFailure()) return;
              }
            }
          }
        }
      }
    }
  }
}

// All 65536 values of a 16-bit type, and as many edges.
TEST_P(KernelCodesTest, CodesAreThoseOfThePortableLoopForAllValuesOf16Bits) {
  for (size_t transform = 0; transform < kTransformCount; ++transform) {
    for (size_t element = 0; element < kFormats.size(); ++element) {
      for (size_t type = 0; type < kFloatTypeCount; ++type) {
        EncodeCase encode(transform, element, type);
        if (!encode.exists()) continue;
        for (const Data data : {Data::kAllBits, Data::kEdges}) {
          for (const Factors factors : {Factors::kOne, Factors::kPowersOfTwo, Factors::kPowersOfTwoOfValues}) {
            encode.ExpectSameCodes(kernels(), data, factors, 64, 65536, random_);
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

// Factors where thresholds of 16-bit values are found in a way of their own, and a little beyond.
std::vector<float> FactorsOfThresholds(Random& random) {
  std::vector<float> factors = {3.0f, 1 / 3.0f, 12.0f, 0x1.8p-20f};  // ties of FP4 are values of these
  for (const float edge : {0x1p-126f, 0x1p-100f, 0x1p-80f, 0x1p-16f, 0x1p-7f, 1.0f, 0x1p7f, 0x1p100f, 0x1p126f}) {
    for (int step = -2; step <= 2; ++step) {
      factors.push_back(std::bit_cast<float>(std::bit_cast<uint32_t>(edge) + static_cast<uint32_t>(step)));
    }
  }
  for (int exponent = -130; exponent <= 130; exponent += 5) {
    const auto mantissa = static_cast<float>(random() % (1 << 23)) * 0x1p-23f;
    factors.push_back(std::ldexp(1 + mantissa, exponent > 0 ? std::min(exponent, 126) : std::max(exponent, -126)));
  }
  return factors;
}

// Every value beside every other's thresholds: runs of 64 that share a factor.
TEST_P(KernelCodesTest, CodesOfFourBitsAreThoseOfThePortableLoopForAllValuesOf16BitsAndManyFactors) {
  constexpr uint64_t kValues = 65536;
  constexpr uint64_t kRun = 64;
  std::vector<uint16_t> values(kValues);
  for (size_t i = 0; i < kValues; ++i) values[i] = static_cast<uint16_t>(i);
  const auto expect_same = [&](size_t transform, Element element, size_t type, float factor, bool unsigned_zero) {
    const std::vector<float> factors(kValues / kRun, factor);
    EncodeJob job = {reinterpret_cast<const std::byte*>(values.data()), kValues, kRun, factors.data()};
    job.highest = InfoOf(element).largest;
    job.lowest = -job.highest;
    job.unsigned_zero = unsigned_zero;
    Bytes expected(kValues / 2);
    Bytes actual(kValues / 2);
    job.codes = expected.data();
    kBaselineKernels.encode[transform][static_cast<size_t>(element)][type](job);
    job.codes = actual.data();
    kernels().encode[transform][static_cast<size_t>(element)][type](job);
    const auto difference = std::ranges::mismatch(actual, expected).in1 - actual.begin();
    ASSERT_TRUE(actual == expected) << Name("encode", transform, static_cast<size_t>(element), type) << ", factor "
                                    << factor << ", value " << difference * 2;
  };
  for (const float factor : FactorsOfThresholds(random_)) {
    for (const Element element : {Element::kNf4, Element::kFp4Bnb, Element::kFp4E2m1, Element::kFp4E3m0}) {
      for (size_t transform = 0; transform < kTransformCount; ++transform) {
        for (const DataType dtype : {DataType::kFloat16, DataType::kBFloat16}) {
          const size_t type = FloatTypeIndex(dtype);
          if (kBaselineKernels.encode[transform][static_cast<size_t>(element)][type] == nullptr) continue;
          for (const bool unsigned_zero : {false, true}) {
            if (unsigned_zero && InfoOf(element).kind != ElementKind::kMiniFloat) continue;
            expect_same(transform, element, type, factor, unsigned_zero);
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

// ---- Values ----

enum class ScaleKind { kNone, kOrdinary, kAnyBits };

class DecodeCase {
 public:
  DecodeCase(size_t restore, size_t element, size_t type) : restore_(restore), info_(kFormats[element]), type_(type) {}

  void ExpectSameValues(const KernelTable& kernels, ScaleKind kind, uint64_t run, uint64_t count, Random& random) {
    const size_t code_bytes = (count * static_cast<size_t>(info_.bits) + 7) / 8;
    Guarded codes(code_bytes, random() % 8);
    for (size_t i = 0; i < code_bytes; ++i) codes.data()[i] = static_cast<std::byte>(random());
    // Codes that are not finite now and then only, so that both kinds of steps occur.
    if (info_.has_nan && info_.bits == 8 && random() % 2 == 0) {
      for (size_t i = 0; i < code_bytes; ++i) codes.data()[i] &= std::byte{0xbb};
    }
    if (info_.bits == 16 && random() % 2 == 0) {
      for (size_t i = 1; i < code_bytes; i += 2) codes.data()[i] &= std::byte{0xbb};
    }
    const size_t runs = (count + run - 1) / run;
    std::vector<float> scales(runs), zeros(runs);
    for (size_t i = 0; i < runs; ++i) {
      scales[i] = kind == ScaleKind::kAnyBits ? AnyFloat(random) : std::fabs(OrdinaryFloat(random)) / 100;
      if (random() % 20 == 0) scales[i] = 0;
      zeros[i] = static_cast<float>(static_cast<int>(random() % 256) - 128);
    }
    const bool is_integer = info_.kind == ElementKind::kInteger;
    DecodeJob job = {codes.data(), count, run};
    job.scales = kind == ScaleKind::kNone ? nullptr : scales.data();
    const bool has_zeros = is_integer && restore_ == static_cast<size_t>(Restore::kMultiply) && random() % 2 == 0;
    job.zeros = has_zeros ? zeros.data() : nullptr;
    job.code_xor = is_integer && random() % 2 == 0 ? 1u << (info_.bits - 1) : 0;
    const size_t misalignment = random() % 8;
    Guarded expected(count * ValueBytes(type_), misalignment);
    Guarded actual(count * ValueBytes(type_), misalignment);
    job.values = expected.data();
    kBaselineKernels.decode[restore_][element()][type_](job);
    job.values = actual.data();
    kernels.decode[restore_][element()][type_](job);
    ASSERT_TRUE(actual == expected) << Name("decode", restore_, element(), type_) << ", scales "
                                    << static_cast<int>(kind) << ", zeros " << has_zeros << ", " << count
                                    << " in runs of " << run << ", at byte " << expected.FirstDifference(actual);
  }

  bool exists() const { return kBaselineKernels.decode[restore_][element()][type_] != nullptr; }
  int bits() const { return info_.bits; }

 private:
  size_t element() const { return static_cast<size_t>(info_.element); }

  size_t restore_;
  const FormatInfo& info_;
  size_t type_;
};

TEST_P(KernelCodesTest, ValuesAreThoseOfThePortableLoop) {
  for (size_t restore = 0; restore < kRestoreCount; ++restore) {
    for (size_t element = 0; element < kFormats.size(); ++element) {
      for (size_t type = 0; type < kFloatTypeCount; ++type) {
        DecodeCase decode(restore, element, type);
        ASSERT_EQ(decode.exists(), kernels().decode[restore][element][type] != nullptr);
        if (!decode.exists()) continue;
        for (const uint64_t run : kRunLengths) {
          for (const uint64_t count : ElementCounts(run, decode.bits(), random_)) {
            for (int repetition = 0; repetition < 3; ++repetition) {
              for (const ScaleKind scales : {ScaleKind::kNone, ScaleKind::kOrdinary, ScaleKind::kAnyBits}) {
                decode.ExpectSameValues(kernels(), scales, run, count, random_);
                if (HasFatalFailure()) return;
              }
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace quantd
