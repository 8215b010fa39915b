// Every loop of every target gives the bytes of the portable loop, and writes nothing beside them.
#include "kernels/cpu/kernel_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kernels/cpu/value_types.h"
#include "kernels/format/format_list.h"

namespace quantd {
namespace {

using Random = std::mt19937_64;
using Bytes = std::vector<std::byte>;

constexpr uint64_t kRunLengths[] = {1,  2,  3,   15,  16,  17,  31,  32,   33,   48,   64,
                                    65, 96, 100, 128, 200, 256, 384, 1000, 1024, 4096, 5000};
constexpr size_t kGuard = 64;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Memory between guard bytes, at any alignment.
class Guarded {
 public:
  Guarded(size_t bytes, size_t misalignment)
      : memory_(kGuard * 2 + bytes + 8, std::byte{0xa5}), offset_(kGuard + misalignment) {}
  std::byte* data() { return memory_.data() + offset_; }
  bool operator==(const Guarded& other) const { return memory_ == other.memory_; }
  size_t FirstDifference(const Guarded& other) const {
    return static_cast<size_t>(std::mismatch(memory_.begin(), memory_.end(), other.memory_.begin()).first -
                               memory_.begin()) -
           offset_;
  }

 private:
  Bytes memory_;
  size_t offset_;
};

// ---- Data ----

enum class Data { kOrdinary, kEdges, kAllBits, kNonfinite };
constexpr Data kAllData[] = {Data::kOrdinary, Data::kEdges, Data::kAllBits, Data::kNonfinite};

// Wherever a codec may decide one way or the other, and where floats end.
std::vector<float> MakeEdges() {
  std::vector<float> middles = {0.0f,
                                0x1p-149f,
                                0x1p-127f,
                                0x1p-126f,
                                0x1p-102f,
                                0x1p-80f,
                                1.0f,
                                1.001f,
                                2.0f,
                                0x1p31f,
                                0x1p100f,
                                0x1p127f,
                                std::numeric_limits<float>::max(),
                                65504.0f,
                                65520.0f};
  for (const float threshold : kNf4Thresholds) middles.push_back(std::fabs(threshold));
  for (const float threshold : kFp4BnbThresholds) middles.push_back(threshold);
  for (const float boundary : kDynamic8Boundaries) middles.push_back(std::fabs(boundary));
  for (int k = 0; k <= 270; ++k) middles.push_back(static_cast<float>(k) / 2);
  for (uint32_t code = 0; code < Fp8E4m3::kLargestCode; ++code) {
    middles.push_back((Fp8E4m3::Decode(code) + Fp8E4m3::Decode(code + 1)) / 2);
  }
  for (uint32_t code = 0; code < Fp8E5m2::kLargestCode; ++code) {
    middles.push_back((Fp8E5m2::Decode(code) + Fp8E5m2::Decode(code + 1)) / 2);
  }
  std::vector<float> edges;
  for (const float middle : middles) {
    const auto bits = std::bit_cast<uint32_t>(middle);
    for (uint32_t near = bits < 2 ? 0 : bits - 2; near <= std::min(bits + 2, 0x7f7fffffu); ++near) {
      edges.push_back(std::bit_cast<float>(near));
      edges.push_back(-std::bit_cast<float>(near));
    }
  }
  return edges;
}

float AnyFloat(Random& random) { return std::bit_cast<float>(static_cast<uint32_t>(random())); }

float FiniteFloat(Random& random) {
  for (;;) {
    const float value = AnyFloat(random);
    if (std::isfinite(value)) return value;
  }
}

float OrdinaryFloat(Random& random) {
  static std::normal_distribution<float> normal;
  return normal(random);
}

template <class Values>
void StoreValue(std::byte* values, size_t index, float value) {
  using Bits = typename Values::Bits;
  StoreUnaligned(values + index * sizeof(Bits), Values::Narrow(value));
}

template <class Values>
void FillValues(Data data, Random& random, size_t count, std::byte* values) {
  static const std::vector<float> edges = MakeEdges();
  using Bits = typename Values::Bits;
  const float magnitude = std::ldexp(1.0f, static_cast<int>(random() % 12) - 6);
  const uint64_t first = random();
  for (size_t i = 0; i < count; ++i) {
    switch (data) {
      case Data::kOrdinary:
        StoreValue<Values>(values, i,
                           random() % 500 == 0 ? OrdinaryFloat(random) * 100 : OrdinaryFloat(random) * magnitude);
        break;
      case Data::kEdges:
        StoreValue<Values>(values, i, edges[(first + i) % edges.size()]);
        break;
      case Data::kAllBits:
        StoreUnaligned(values + i * sizeof(Bits), static_cast<Bits>(sizeof(Bits) == 2 ? first + i * 13 : random()));
        break;
      case Data::kNonfinite:
        StoreValue<Values>(values, i, OrdinaryFloat(random));
        if (random() % 40 == 0) StoreUnaligned(values + i * sizeof(Bits), static_cast<Bits>(Values::kInfinity));
        if (random() % 40 == 0)
          StoreUnaligned(values + i * sizeof(Bits), static_cast<Bits>(random() | Values::kInfinity));
        break;
    }
  }
  // Some runs of zeros.
  if (count > 300 && random() % 4 == 0) std::memset(values + 64 * sizeof(Bits), 0, 128 * sizeof(Bits));
}

void FillValues(size_t type, Data data, Random& random, size_t count, std::byte* values) {
  if (type == FloatTypeIndex(DataType::kFloat32)) FillValues<Float32Values>(data, random, count, values);
  if (type == FloatTypeIndex(DataType::kFloat16)) FillValues<Float16Values>(data, random, count, values);
  if (type == FloatTypeIndex(DataType::kBFloat16)) FillValues<BFloat16Values>(data, random, count, values);
}

constexpr size_t ValueBytes(size_t type) { return type == FloatTypeIndex(DataType::kFloat32) ? 4 : 2; }

std::string Name(const char* loop, size_t operation, size_t element, size_t type) {
  return std::string(loop) + " " + std::to_string(operation) + " of " +
         std::string(element < kFormats.size() ? kFormats[element].name : "") + ", float type " + std::to_string(type);
}

// Several whole runs and a short one; or, of codes that are no whole bytes, one run.
std::vector<uint64_t> ElementCounts(uint64_t run_elements, int bits, Random& random) {
  const uint64_t rest = random() % run_elements;
  if (run_elements * static_cast<uint64_t>(bits) % 8 != 0) return {run_elements, rest};
  const uint64_t runs = std::max<uint64_t>(1, 600 / run_elements);
  return {0, rest, run_elements * runs, run_elements * (runs + random() % 40) + rest};
}

class KernelTableTest : public ::testing::TestWithParam<const KernelTable*> {
 protected:
  const KernelTable& kernels() const { return *GetParam(); }
  Random random_{7};
};

INSTANTIATE_TEST_SUITE_P(Targets, KernelTableTest,
                         ::testing::ValuesIn(SupportedKernels().begin(), SupportedKernels().end()),
                         [](const auto& info) { return std::string(info.param->target); });

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

// ---- Codes ----

enum class Factors { kOne, kOfRun, kPowersOfTwo, kAnyFinite };
constexpr Factors kAllFactors[] = {Factors::kOne, Factors::kOfRun, Factors::kPowersOfTwo, Factors::kAnyFinite};

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
      // A NaN's sign may be either factor's.
      if (std::isnan(factors[i])) factors[i] = 1.0f;
      zeros[i] = static_cast<float>(static_cast<int>(random() % 256) - 128);
    }
    const bool is_integer = info_.kind == ElementKind::kInteger;
    EncodeJob job = {values.data(), count, run, factors.data(), zeros.data()};
    job.highest = info_.largest;
    job.lowest = is_integer && random() % 2 == 0 ? -info_.largest - 1 : -info_.largest;
    job.code_xor = is_integer && random() % 2 == 0 ? 1u << (info_.bits - 1) : 0;
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

TEST_P(KernelTableTest, CodesAreThoseOfThePortableLoop) {
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
TEST_P(KernelTableTest, CodesAreThoseOfThePortableLoopForAllValuesOf16Bits) {
  for (size_t transform = 0; transform < kTransformCount; ++transform) {
    for (size_t element = 0; element < kFormats.size(); ++element) {
      for (size_t type = 0; type < kFloatTypeCount; ++type) {
        EncodeCase encode(transform, element, type);
        if (!encode.exists()) continue;
        for (const Data data : {Data::kAllBits, Data::kEdges}) {
          for (const Factors factors : {Factors::kOne, Factors::kPowersOfTwo}) {
            encode.ExpectSameCodes(kernels(), data, factors, 64, 65536, random_);
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

TEST_P(KernelTableTest, ValuesAreThoseOfThePortableLoop) {
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
