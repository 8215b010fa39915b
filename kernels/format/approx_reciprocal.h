// The GPU instruction rcp.approx.ftz.f32 as exact integer arithmetic: equal on all 2^32 inputs to an NVIDIA H200.
//
// Piecewise quadratic interpolation in 128 segments with a truncated squarer, as in Oberman and Siu, "A
// high-performance area-efficient multifunction interpolator", 2005. Never more than one ulp off the correctly rounded
// reciprocal.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "kernels/base/float16.h"

namespace quantd {
namespace approx_reciprocal {

// Of each segment: bits 26 to 51 the constant term less 2^25, bits 10 to 25 the negated slope, bits 0 to 9 the
// curvature.
inline constexpr uint64_t kSegments[128] = {
    0x8000003fffbf5, 0x7e03f8bf02bdd, 0x7c0fc1be0b7c6, 0x7a232d7d19fb1, 0x783e0fbc2db9b, 0x76603e3b46f86,
    0x74898e3a65773, 0x72b9d6b988b5f, 0x70f0f138b0f4d, 0x6f2eb7b7ddf3b, 0x6d7304770f729, 0x6bbdb2f645317,
    0x6a0ea1757f706, 0x6865ad34bdef6, 0x66c2b4f4006e6, 0x652598b346ed7, 0x638e3972912c7, 0x61fc78b1df2b8,
    0x607038b130eaa, 0x5ee95cb08629d, 0x5d67c8efdee90, 0x5beb626f3ae82, 0x5a740dee9a677, 0x5901b2adfce6a,
    0x5794366d6265d, 0x562b81accb252, 0x54c77bac36a46, 0x53680daba523c, 0x520d21ab16631, 0x50b6a06a8a225,
    0x4f64756a00e1c, 0x4e168ae979e11, 0x4ccccd68f5a07, 0x4b87286873dfe, 0x4a458827f45f5, 0x4907dae7771ea,
    0x47ce0ce6fc5e2, 0x46980d2683dda, 0x4565c9260d5d1, 0x44373065991c9, 0x430c316526dc1, 0x41e4bc64b69b9,
    0x40c0c164485b1, 0x3fa030a3dc1aa, 0x3e82faa3719a2, 0x3d6910e30919c, 0x3c5264a2a2193, 0x3b3ee7a23d18d,
    0x3a2e8c61d9d86, 0x392144617817f, 0x3817032118179, 0x370fbc20b9d73, 0x360b61605d16e, 0x3509e72001966,
    0x340b411fa7d61, 0x330f639f4f95c, 0x3216435ef8955, 0x311fd49ea3551, 0x302c0b9e4f14b, 0x2f3ade1dfc546,
    0x2e4c41ddaad40, 0x2d602c1d5ad3c, 0x2c76925d0bd36, 0x2b8f6a5cbe131, 0x2aaaab1c71d2e, 0x29c84b1c26929,
    0x28e8401bdc523, 0x280a811b9351f, 0x272f05db4b91b, 0x2655c49b04d17, 0x257eb59abf112, 0x24a9cfda7a90f,
    0x23d70ada36d0a, 0x23065ed9f4507, 0x2237c399b2902, 0x216b319972100, 0x20a0a159324fb, 0x1fd80a98f38f8,
    0x1f116698b58f3, 0x1e4cad98788f0, 0x1d89d9183c8ed, 0x1cc8e218014e9, 0x1c09c157c70e7, 0x1b4c70578d4e2,
    0x1a90e857548df, 0x19d723571ccde, 0x191f1ad6e58da, 0x1868c896af0d6, 0x17b42696798d4, 0x17012ed6448d0,
    0x164fdad6104cd, 0x15a02615dd0cc, 0x14f209d5aa0c7, 0x14458115780c5, 0x139a865546cc4, 0x12f11415160c1,
    0x12492514e5cbd, 0x11a2b454b64ba, 0x10fdbcd4878b8, 0x105a38d4594b6, 0x0fb824942bcb4, 0x0f177a53fecb2,
    0x0e7835d3d24af, 0x0dda5293a68ad, 0x0d3dcb937b4ab, 0x0ca29c53508a9, 0x0c08c113264a6, 0x0b7034d2fcca5,
    0x0ad8f392d38a1, 0x0a42f912ab0a0, 0x09ae41128309f, 0x091ac7d25b49b, 0x088889123449a, 0x07f781120dc99,
    0x0767abd1e7896, 0x06d90611c2095, 0x064b8b119cc93, 0x05bf37d178091, 0x0534091153c8f, 0x04a9fa113008f,
    0x042108d10c88c, 0x03993110e988a, 0x03126f50c7089, 0x028cc050a4c87, 0x0208211083085, 0x01848e5061c84,
    0x0102045040c83, 0x008080d020482,
};

// Sum over bits k in [first, last] of `high` of (low >> (8 - k)): partial products of high · low that the squarer
// keeps.
constexpr uint32_t PartialProducts(uint32_t high, uint32_t low, int first, int last) {
  uint32_t sum = 0;
  for (int k = first; k <= last; ++k) sum += (high >> k & 1) * (low >> (8 - k));
  return sum;
}

// Bits 1 to 3 of high with the top 3 bits of low: all that their partial products can see.
inline constexpr auto kLowProducts = [] {
  std::array<uint8_t, 64> table{};
  for (uint32_t i = 0; i < 64; ++i) table[i] = static_cast<uint8_t>(PartialProducts((i >> 3) << 1, (i & 7) << 5, 1, 3));
  return table;
}();

// Bits 4 to 7 of high with the top 7 bits of low.
inline constexpr auto kHighProducts = [] {
  std::array<uint8_t, 2048> table{};
  for (uint32_t i = 0; i < 2048; ++i) {
    table[i] = static_cast<uint8_t>(PartialProducts((i >> 7) << 4, (i & 127) << 1, 4, 7));
  }
  return table;
}();

// offset² / 2^17 for a 16-bit offset, the partial products below that place left out.
constexpr uint32_t TruncatedSquare(uint32_t offset) {
  const uint32_t high = offset >> 8;
  const uint32_t low = offset & 0xff;
  return (high * high >> 1) + kLowProducts[(high >> 1 & 7) << 3 | low >> 5] +
         kHighProducts[(high >> 4) << 7 | low >> 1];
}

// 2^47 / (2^23 + mantissa) as the instruction rounds it, for a 23-bit mantissa: 2^23 + 1 to 2^24.
constexpr uint32_t Significand(uint32_t mantissa) {
  const uint64_t segment = kSegments[mantissa >> 16];
  const uint64_t constant = (segment >> 26) + (uint64_t{1} << 25);
  const uint64_t slope = segment >> 10 & 0xffff;
  const uint64_t curvature = segment & 0x3ff;
  const uint64_t offset = mantissa & 0xffff;
  const uint64_t square = TruncatedSquare(static_cast<uint32_t>(offset));
  return static_cast<uint32_t>(((constant << 13) + 2023 - slope * offset + curvature * square) >> 15);
}

}  // namespace approx_reciprocal

// ±0 and subnormals give infinity of their sign, infinity and magnitudes above 2^126 a zero of their sign, NaN gives
// kCanonicalNan32.
constexpr float ApproxReciprocal(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = bits & 0x80000000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return std::bit_cast<float>(kCanonicalNan32);
  if (magnitude < 0x00800000u) return std::bit_cast<float>(sign | 0x7f800000u);
  if (magnitude > 0x7e800000u) return std::bit_cast<float>(sign);
  const uint32_t significand = approx_reciprocal::Significand(magnitude & 0x7fffffu);
  const int32_t exponent = 252 - static_cast<int32_t>(magnitude >> 23);
  const int32_t result = exponent * (1 << 23) + static_cast<int32_t>(significand);
  return std::bit_cast<float>(sign | static_cast<uint32_t>(result));
}

}  // namespace quantd
