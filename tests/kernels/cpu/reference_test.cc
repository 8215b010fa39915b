// The CPU kernels beside the independent reference: every instruction set, preset, block size, type and ragged end.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/kernel_table.h"
#include "tests/support/reference_quantizer.h"
#include "tests/support/tensor_runner.h"

namespace quantd::testing {
namespace {

struct Family {
  std::string preset;
  std::string format;
  ReferenceRules rules;
};
const Family kFamilies[] = {{"bnb-nf4", "nf4", ReferenceRules::kBitsandbytes},
                            {"bnb-fp4", "fp4", ReferenceRules::kBitsandbytes},
                            {"nf4", "nf4", ReferenceRules::kStrict}};
constexpr DataType kTypes[] = {DataType::kFloat32, DataType::kFloat16, DataType::kBFloat16};
constexpr uint32_t kBlockSizes[] = {32, 64, 128, 256, 512, 1024, 2048, 4096};

SchemeRequest Request(const std::string& preset, uint32_t block_size, bool double_quant = false) {
  return {preset, {{"block_size", std::to_string(block_size)}, {"double_quant", double_quant ? "true" : "false"}}, 0};
}

// What survives narrowing as a finite number.
Bytes FiniteNarrowed(std::vector<float> values, DataType dtype) {
  if (dtype == DataType::kFloat16) {
    for (float& value : values) value = std::clamp(value, -65504.0f, 65504.0f);
  }
  return Narrowed(values, dtype);
}

// Quantizes and dequantizes the values both ways.
void ExpectEqualsReference(Backend& backend, const Family& family, uint32_t block_size, DataType dtype,
                           const Bytes& input) {
  const uint64_t count = input.size() / SizeBytes(dtype);
  const SchemeRequest request = Request(family.preset, block_size);
  const TensorRun quantized =
      RunTensor(backend, PlanOrDie(request, Direction::kQuantize, dtype, {count}), {{"values", input}});
  const std::vector<float> values = Widened(input, dtype);
  const ReferenceBlocks expected = ReferenceQuantize4Bit(family.format, family.rules, block_size, values);
  const std::string what = family.preset + " block " + std::to_string(block_size) + " " +
                           std::string(InfoOf(dtype).name) + " of " + std::to_string(count);
  ASSERT_EQ(quantized.outputs.at("scales"), BytesOf(expected.absmax)) << what;
  ASSERT_EQ(quantized.outputs.at("codes"), BytesOf(expected.codes)) << what;

  float amax = 0;
  for (const float value : values) amax = std::max(amax, std::fabs(value));
  EXPECT_EQ(quantized.result.range.amax, amax) << what;
  EXPECT_EQ(quantized.result.nonfinite_count, 0u) << what;

  const TensorRun dequantized =
      RunTensor(backend, PlanOrDie(request, Direction::kDequantize, dtype, {count}), quantized.outputs);
  const auto restored = ReferenceDequantize4Bit(family.format, family.rules, block_size, expected, count);
  ASSERT_EQ(dequantized.outputs.at("values"), Narrowed(restored, dtype)) << what;
}

// Every instruction set that this machine has.
class CpuKernels : public ::testing::TestWithParam<const KernelTable*> {
 protected:
  std::unique_ptr<Backend> backend_ = MakeCpuBackend(*GetParam());
};

std::string TargetName(const ::testing::TestParamInfo<const KernelTable*>& info) {
  return std::string(info.param->target);
}

INSTANTIATE_TEST_SUITE_P(Targets, CpuKernels, ::testing::ValuesIn(SupportedKernels().begin(), SupportedKernels().end()),
                         TargetName);

class CpuKernelsBlockSize : public ::testing::TestWithParam<std::tuple<const KernelTable*, uint32_t>> {};

INSTANTIATE_TEST_SUITE_P(TargetsAndBlockSizes, CpuKernelsBlockSize,
                         ::testing::Combine(::testing::ValuesIn(SupportedKernels().begin(), SupportedKernels().end()),
                                            ::testing::ValuesIn(kBlockSizes)),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param)->target) + "_" +
                                  std::to_string(std::get<1>(info.param));
                         });

TEST_P(CpuKernelsBlockSize, EqualTheReferenceForEveryTypeAndRaggedEnd) {
  const auto& [kernels, block_size] = GetParam();
  const auto backend = MakeCpuBackend(*kernels);
  const uint64_t block = block_size;
  const uint64_t seed = 1000 + block;
  SCOPED_TRACE("seed " + std::to_string(seed));
  auto random = MakeRandom(seed);
  for (const Family& family : kFamilies) {
    for (const DataType dtype : kTypes) {
      for (const uint64_t count :
           {uint64_t{0}, uint64_t{1}, uint64_t{2}, uint64_t{31}, uint64_t{63}, uint64_t{64}, uint64_t{65}, block - 1,
            block, block + 1, 3 * block - 1, 3 * block, 3 * block + 17, 16384 + block + 1, 20 * block}) {
        const auto values = RandomTensor(random, count, block_size);
        ExpectEqualsReference(*backend, family, block_size, dtype, FiniteNarrowed(values, dtype));
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(CpuKernels, EqualTheReferenceOnEvery16BitValue) {
  constexpr uint64_t kSeed = 7;
  SCOPED_TRACE("seed " + std::to_string(kSeed));
  auto random = MakeRandom(kSeed);
  for (const DataType dtype : {DataType::kFloat16, DataType::kBFloat16}) {
    const uint32_t infinity = dtype == DataType::kFloat16 ? 0x7c00 : 0x7f80;
    std::vector<uint16_t> patterns;
    for (uint32_t bits = 0; bits <= 0xffff; ++bits) {
      if ((bits & 0x7fff) < infinity) patterns.push_back(static_cast<uint16_t>(bits));
    }
    // In order every block holds one magnitude's neighbours; shuffled, all magnitudes.
    std::vector<uint16_t> shuffled = patterns;
    std::ranges::shuffle(shuffled, random);
    for (const Family& family : kFamilies) {
      ExpectEqualsReference(*backend_, family, 64, dtype, BytesOf(patterns));
      ExpectEqualsReference(*backend_, family, 64, dtype, BytesOf(shuffled));
    }
  }
}

// x with its neighbours up to two ulps away.
void AppendNeighbours(float value, std::vector<float>& values) {
  for (const float toward : {-2.0f, 2.0f}) {
    values.push_back(std::nextafter(value, toward));
    values.push_back(std::nextafter(values.back(), toward));
  }
  values.push_back(value);
}

TEST_P(CpuKernels, EqualTheReferenceAtEveryThreshold) {
  // Blocks of 32: first the absmax, then values around every threshold times it.
  std::vector<float> thresholds;
  for (const uint32_t bits :
       {0xbf591cd9u, 0xbf1c5270u, 0xbeeb8480u, 0xbeadea76u, 0xbe703cecu, 0xbe0d38bcu, 0xbd3a7871u, 0x3d22faffu,
        0x3df64863u, 0x3e5067e0u, 0x3e9582d4u, 0x3ec753f9u, 0x3f006d03u, 0x3f248dafu, 0x3f5c89d9u, 0x3b2aaab9u,
        0x3db00000u, 0x3e555555u, 0x3e955555u, 0x3ed55556u, 0x3f155550u, 0x3f555555u}) {
    thresholds.push_back(std::bit_cast<float>(bits));
    thresholds.push_back(-thresholds.back());
  }
  std::vector<float> values;
  for (const float absmax : {1.0f, 0x1p-126f, 0x1p126f, 0x1.8p-100f, 0.1f, 3.0f, 0x1.fffffep-3f, 0x1.000002p+7f}) {
    for (const float threshold : thresholds) {
      values.push_back(absmax);
      AppendNeighbours(threshold * absmax, values);
      values.resize((values.size() + 31) / 32 * 32, -absmax);
    }
  }
  for (const Family& family : kFamilies)
    ExpectEqualsReference(*backend_, family, 32, DataType::kFloat32, BytesOf(values));
}

TEST_P(CpuKernels, EqualTheReferenceWhereSubnormalsDecide) {
  // A block whose absmax is barely normal, with subnormal elements; products that are subnormal; and signs of both.
  std::vector<float> values = {0x1p-126f, 0x1p-127f, -0x1p-127f, -0x1p-149f, 0x1.8p-126f, -0x1.8p-126f};
  values.resize(32, 0.0f);
  for (const float tiny : {1.0f, -0x1p-120f, -0x1p-125f, -0x1p-126f, -0x1p-127f, 0x1p-127f, -0.0f})
    values.push_back(tiny);
  values.resize(64, -0x1p-140f);
  for (const float huge : {0x1p126f, -0x1p-1f, -0x1p0f, -0x1p1f, 0x1p-1f}) values.push_back(huge);
  values.resize(96, 0x1p100f);
  for (const float beyond : {0x1.8p126f, -0x1p126f, 0x1p127f}) values.push_back(beyond);
  values.resize(128, 0x1p125f);
  for (const Family& family : kFamilies) {
    for (const DataType dtype : {DataType::kFloat32, DataType::kBFloat16}) {
      ExpectEqualsReference(*backend_, family, 32, dtype, Narrowed(values, dtype));
    }
  }
}

TEST_P(CpuKernels, EqualTheReferenceWithDoubleQuantization) {
  constexpr uint64_t kSeed = 11;
  SCOPED_TRACE("seed " + std::to_string(kSeed));
  auto random = MakeRandom(kSeed);
  for (const Family& family : {kFamilies[0], kFamilies[1]}) {
    for (const uint32_t block_size : {32u, 64u, 1024u}) {
      for (const uint64_t blocks : {1u, 2u, 255u, 256u, 257u, 600u}) {
        const uint64_t count = blocks * block_size - random() % block_size;
        const DataType dtype = kTypes[random() % 3];
        const Bytes input = FiniteNarrowed(RandomTensor(random, count, block_size), dtype);
        const SchemeRequest request = Request(family.preset, block_size, true);
        const TensorRun quantized =
            RunTensor(*backend_, PlanOrDie(request, Direction::kQuantize, dtype, {count}), {{"values", input}});
        const ReferenceBlocks flat =
            ReferenceQuantize4Bit(family.format, family.rules, block_size, Widened(input, dtype));
        const float offset = ValuesOf<float>(quantized.outputs.at("offset")).front();
        const ReferenceBlocks nested = ReferenceQuantizeScales(flat.absmax, offset);
        ASSERT_EQ(quantized.outputs.at("codes"), BytesOf(flat.codes));
        ASSERT_EQ(quantized.outputs.at("scales"), BytesOf(nested.codes));
        ASSERT_EQ(quantized.outputs.at("nested_scales"), BytesOf(nested.absmax));

        double sum = 0;
        for (const float scale : flat.absmax) sum += scale;
        EXPECT_NEAR(offset, sum / static_cast<double>(blocks), std::fabs(sum) / static_cast<double>(blocks) * 1e-6);

        const TensorRun dequantized =
            RunTensor(*backend_, PlanOrDie(request, Direction::kDequantize, dtype, {count}), quantized.outputs);
        const ReferenceBlocks restored{flat.codes, ReferenceDequantizeScales(nested, offset)};
        ASSERT_EQ(dequantized.outputs.at("values"),
                  Narrowed(ReferenceDequantize4Bit(family.format, family.rules, block_size, restored, count), dtype));
      }
    }
  }
}

// Scales come from strangers: any bits at all.
TEST_P(CpuKernels, DecodeAnyScaleAsTheReference) {
  constexpr uint64_t kSeed = 13;
  constexpr uint64_t kBlocks = 4000;
  SCOPED_TRACE("seed " + std::to_string(kSeed));
  auto random = MakeRandom(kSeed);
  std::vector<uint32_t> scale_bits(kBlocks);
  for (uint32_t& bits : scale_bits) bits = static_cast<uint32_t>(random());
  for (size_t i = 0; i < kBlocks; i += 5) scale_bits[i] &= 0x807fffff;
  for (size_t i = 1; i < kBlocks; i += 5) scale_bits[i] |= 0x7f800000;
  for (size_t i = 2; i < kBlocks; i += 50) scale_bits[i] &= 0xff800000;
  std::vector<uint8_t> codes(kBlocks * 32);
  for (uint8_t& code : codes) code = static_cast<uint8_t>(random());
  ReferenceBlocks blocks{codes, std::vector<float>(kBlocks)};
  for (size_t i = 0; i < kBlocks; ++i) blocks.absmax[i] = std::bit_cast<float>(scale_bits[i]);
  for (const Family& family : kFamilies) {
    for (const DataType dtype : kTypes) {
      const Plan plan = PlanOrDie(Request(family.preset, 64), Direction::kDequantize, dtype, {kBlocks * 64});
      const TensorRun run = RunTensor(*backend_, plan, {{"scales", BytesOf(scale_bits)}, {"codes", BytesOf(codes)}});
      const auto values = ReferenceDequantize4Bit(family.format, family.rules, 64, blocks, kBlocks * 64);
      ASSERT_EQ(run.outputs.at("values"), Narrowed(values, dtype)) << family.preset;
    }
  }
}

}  // namespace
}  // namespace quantd::testing
