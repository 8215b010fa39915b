#include "tests/exhaustive/division_check.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstddef>
#include <vector>

#include "kernels/format/format_list.h"

namespace quantd::testing {
namespace {

constexpr uint64_t kRunElements = 48;  // whole vectors and a rest
constexpr uint64_t kRuns = 4096;

// SplitMix64: a billion pairs need a fast generator.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
  }

 private:
  uint64_t state_;
};

float WithExponent(uint64_t random, uint32_t lowest, uint32_t count) {
  const auto exponent = lowest + static_cast<uint32_t>(random >> 32) % count;
  return std::bit_cast<float>(exponent << 23 | (static_cast<uint32_t>(random) & 0x7fffff));
}

float Scale(Random& random) {
  const uint64_t bits = random.Next();
  switch (bits >> 60) {
    case 0:
      return WithExponent(bits, 0, 1) + 0x1p-149f;  // subnormal
    case 1:
      return WithExponent(bits, 1, 254);
    case 2:
      return std::bit_cast<float>(std::bit_cast<uint32_t>(WithExponent(bits, 90, 60)) | 0x7fffff);  // ones
    case 3:
      return std::bit_cast<float>(std::bit_cast<uint32_t>(WithExponent(bits, 90, 60)) & 0xff800000);  // power of two
    default:
      return WithExponent(bits, 97, 40);
  }
}

// Halves between integers, and between the levels of a float with 3 bits of mantissa.
float Boundary(uint64_t random) {
  const auto integer = static_cast<float>(random % 128) + 0.5f;
  if ((random & 0x100) != 0) return integer;
  return std::ldexp(static_cast<float>(random % 16) + 0.5f, static_cast<int>(random >> 12 & 15) - 9);
}

float Value(Random& random, float scale) {
  const uint64_t bits = random.Next();
  const uint32_t sign = static_cast<uint32_t>(bits >> 63) << 31;
  float magnitude = 0;
  switch (bits >> 60 & 7) {
    case 0:
      magnitude = WithExponent(bits, 0, 255);
      break;
    case 1:
      magnitude = std::bit_cast<float>(std::bit_cast<uint32_t>(WithExponent(bits, 90, 60)) | 0x7fffff);
      break;
    case 2:
    case 3:
      magnitude = static_cast<float>(static_cast<uint32_t>(bits) % 100000) * 0x1p-9f * scale;
      break;
    default: {
      const auto beside = static_cast<int32_t>(bits >> 32 & 7) - 4;
      magnitude = std::bit_cast<float>(std::bit_cast<int32_t>(Boundary(bits) * scale) + beside);
      break;
    }
  }
  return std::bit_cast<float>((std::bit_cast<uint32_t>(magnitude) & 0x7fffffffu) | sign);
}

struct Pairs {
  std::vector<float> values;
  std::vector<float> scales;
};

void Fill(Random& random, Pairs& pairs) {
  for (uint64_t run = 0; run < kRuns; ++run) {
    const float scale = Scale(random);
    pairs.scales[run] = scale;
    for (uint64_t i = run * kRunElements; i < (run + 1) * kRunElements; ++i) {
      const float value = Value(random, scale);
      pairs.values[i] = value - value == 0 ? value : 1.0f;
    }
  }
}

template <class Format>
void ExpectCodes(const KernelTable& kernels, const Pairs& pairs, std::vector<uint8_t>& codes) {
  kernels.encode[static_cast<size_t>(Transform::kDivide)][static_cast<size_t>(Format::kElement)][0](
      {.values = reinterpret_cast<const std::byte*>(pairs.values.data()),
       .element_count = pairs.values.size(),
       .run_elements = kRunElements,
       .factors = pairs.scales.data(),
       .zeros = nullptr,
       .lowest = -Format::kLargest,
       .highest = Format::kLargest,
       .code_xor = 0,
       .ieee_overflow = false,
       .unsigned_zero = false,
       .codes = reinterpret_cast<std::byte*>(codes.data())});
  for (uint64_t i = 0; i < pairs.values.size(); ++i) {
    const float scale = pairs.scales[i / kRunElements];
    // The codec has been compared with integers on its own; the largest codes are of both signs.
    const float quotient = pairs.values[i] / scale;
    const float clamped = quotient < -Format::kLargest ? -Format::kLargest : quotient;
    ASSERT_EQ(codes[i], Format::Encode(clamped))
        << kernels.target << " " << Format::kName << " " << std::hexfloat << pairs.values[i] << " / " << scale;
  }
}

}  // namespace

void ExpectDividesAsIeee(const KernelTable& kernels, uint64_t count, uint64_t seed) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random random(seed);
  Pairs pairs = {std::vector<float>(kRuns * kRunElements), std::vector<float>(kRuns)};
  std::vector<uint8_t> codes(pairs.values.size());
  for (uint64_t done = 0; done < count; done += 2 * codes.size()) {
    Fill(random, pairs);
    ExpectCodes<Int8>(kernels, pairs, codes);
    Fill(random, pairs);
    ExpectCodes<Fp8E4m3>(kernels, pairs, codes);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace quantd::testing
