// ggml's blocks of every target are those of the portable loops, and nothing is written beside them.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/cpu/kernel_table.h"
#include "kernels/format/ggml.h"
#include "tests/kernels/cpu/kernel_data.h"

namespace quantd {
namespace {

using GgmlBlocks = TargetTest;

INSTANTIATE_TEST_SUITE_P(Targets, GgmlBlocks,
                         ::testing::ValuesIn(SupportedKernels().begin() + 1, SupportedKernels().end()),
                         [](const auto& info) { return std::string(info.param->target); });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(GgmlBlocks);

constexpr size_t kBlockBytes[kGgmlBlockCount] = {18, 20, 22, 24, 34};
constexpr size_t kRounds = 400;

template <class Values>
void MakeFinite(size_t count, std::byte* values) {
  using Bits = typename Values::Bits;
  for (size_t i = 0; i < count; ++i) {
    if (!std::isfinite(Values::Widen(LoadUnaligned<Bits>(values + i * sizeof(Bits))))) {
      StoreValue<Values>(values, i, 1.0f);
    }
  }
}
void MakeFinite(size_t type, size_t count, std::byte* values) {
  if (type == FloatTypeIndex(DataType::kFloat32)) MakeFinite<Float32Values>(count, values);
  if (type == FloatTypeIndex(DataType::kFloat16)) MakeFinite<Float16Values>(count, values);
  if (type == FloatTypeIndex(DataType::kBFloat16)) MakeFinite<BFloat16Values>(count, values);
}

class Blocks {
 public:
  Blocks(const KernelTable& kernels, size_t block, size_t type) : kernels_(kernels), block_(block), type_(type) {}

  // Finite values.
  void ExpectSameCodes(std::byte* values, uint64_t blocks, size_t misalignment) const {
    Guarded expected(blocks * kBlockBytes[block_], misalignment);
    Guarded actual(blocks * kBlockBytes[block_], misalignment);
    kBaselineKernels.ggml[block_].encode[type_](values, blocks * kGgmlBlockElements, expected.data());
    kernels_.ggml[block_].encode[type_](values, blocks * kGgmlBlockElements, actual.data());
    ASSERT_TRUE(actual == expected) << Name() << " at byte " << actual.FirstDifference(expected);
  }
  void ExpectSameValues(const std::byte* codes, uint64_t blocks, size_t misalignment) const {
    Guarded expected(blocks * kGgmlBlockElements * ValueBytes(type_), misalignment);
    Guarded actual(blocks * kGgmlBlockElements * ValueBytes(type_), misalignment);
    kBaselineKernels.ggml[block_].decode[type_](codes, blocks * kGgmlBlockElements, expected.data());
    kernels_.ggml[block_].decode[type_](codes, blocks * kGgmlBlockElements, actual.data());
    ASSERT_TRUE(actual == expected) << Name() << " at byte " << actual.FirstDifference(expected);
  }

 private:
  std::string Name() const { return "block " + std::to_string(block_) + ", float type " + std::to_string(type_); }

  const KernelTable& kernels_;
  size_t block_;
  size_t type_;
};

template <class Function>
void ForEachBlockAndType(Function function) {
  for (size_t block = 0; block < kGgmlBlockCount; ++block) {
    for (size_t type = 0; type < kFloatTypeCount; ++type) function(block, type);
  }
}

TEST_P(GgmlBlocks, EncodesEveryKindOfFiniteValue) {
  ForEachBlockAndType([&](size_t block, size_t type) {
    for (size_t round = 0; round < kRounds; ++round) {
      const uint64_t blocks = random_() % 40;
      const uint64_t count = blocks * kGgmlBlockElements;
      Guarded values(count * ValueBytes(type), random_() % 8);
      FillValues(type, kAllData[round % std::size(kAllData)], random_, count, values.data());
      MakeFinite(type, count, values.data());
      Blocks(kernels(), block, type).ExpectSameCodes(values.data(), blocks, random_() % 8);
      if (HasFatalFailure()) return;
    }
  });
}

// Quotients of few bits: on ties, on whole codes, and as large on either side of 0.
TEST_P(GgmlBlocks, EncodesTies) {
  ForEachBlockAndType([&](size_t block, size_t type) {
    constexpr uint64_t kBlocks = 64;
    for (size_t round = 0; round < kRounds; ++round) {
      Guarded values(kBlocks * kGgmlBlockElements * ValueBytes(type), 0);
      const int unit = static_cast<int>(random_() % 150) - 149;
      for (size_t i = 0; i < kBlocks * kGgmlBlockElements; ++i) {
        const auto steps = static_cast<int>(random_() % 33) - 16;
        const float sign = random_() % 2 == 0 ? -1.0f : 1.0f;  // of 0 too
        const float value = sign * std::ldexp(static_cast<float>(steps), unit);
        StoreValue(type, values.data(), i, value);
      }
      Blocks(kernels(), block, type).ExpectSameCodes(values.data(), kBlocks, 0);
      if (HasFatalFailure()) return;
    }
  });
}

TEST_P(GgmlBlocks, EncodesZerosOfEitherSign) {
  ForEachBlockAndType([&](size_t block, size_t type) {
    for (size_t round = 0; round < kRounds; ++round) {
      constexpr uint64_t kBlocks = 2;
      Guarded values(kBlocks * kGgmlBlockElements * ValueBytes(type), 0);
      for (size_t i = 0; i < kBlocks * kGgmlBlockElements; ++i) {
        const float value = random_() % 64 == 0 ? static_cast<float>(random_() % 3) - 1 : 0.0f;
        const float zero = random_() % 2 == 0 ? -0.0f : 0.0f;
        const float stored = value == 0 ? zero : value;
        StoreValue(type, values.data(), i, stored);
      }
      Blocks(kernels(), block, type).ExpectSameCodes(values.data(), kBlocks, 0);
      if (HasFatalFailure()) return;
    }
  });
}

// Scales that are NaN, infinite or subnormal among them.
TEST_P(GgmlBlocks, DecodesAnyBytes) {
  ForEachBlockAndType([&](size_t block, size_t type) {
    for (size_t round = 0; round < kRounds; ++round) {
      const uint64_t blocks = random_() % 40;
      Guarded codes(blocks * kBlockBytes[block], random_() % 8);
      for (size_t i = 0; i < blocks * kBlockBytes[block]; ++i) codes.data()[i] = static_cast<std::byte>(random_());
      Blocks(kernels(), block, type).ExpectSameValues(codes.data(), blocks, random_() % 8);
      if (HasFatalFailure()) return;
    }
  });
}

// Each scale (and the minimum beside it) that 16 bits can name.
TEST_P(GgmlBlocks, DecodesEveryScale) {
  ForEachBlockAndType([&](size_t block, size_t type) {
    Bytes codes(kBlockBytes[block] * 65536);
    for (std::byte& byte : codes) byte = static_cast<std::byte>(random_());
    for (uint32_t scale = 0; scale < 65536; ++scale) {
      StoreUnaligned(codes.data() + scale * kBlockBytes[block], static_cast<uint16_t>(scale));
    }
    Blocks(kernels(), block, type).ExpectSameValues(codes.data(), 65536, 0);
  });
}

}  // namespace
}  // namespace quantd
