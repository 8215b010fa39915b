// The reference is right where a library has spoken: every byte of every golden file.
#include "tests/support/reference_scheme.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/golden_schemes.h"
#include "tests/support/reference_presets.h"

namespace quantd::testing {
namespace {

// The number of bytes, of which none differs.
uint64_t ExpectEqual(const Bytes& actual, const Bytes& expected, const std::string& what) {
  EXPECT_EQ(actual.size(), expected.size()) << what;
  if (actual.size() != expected.size()) return 0;
  const auto [differs, unused] = std::ranges::mismatch(actual, expected);
  EXPECT_EQ(differs, actual.end()) << what << ", byte " << differs - actual.begin();
  return actual.size();
}

uint64_t CheckQuantize(const GoldenFile& file, const GoldenScheme& golden) {
  if (golden.input.empty()) return 0;
  const auto segments = ReferenceQuantize(ReferencePreset(golden.preset, golden.overrides), golden.dtype, golden.shape,
                                          GoldenBytes(file, golden.input), golden.known);
  EXPECT_EQ(segments.size(), golden.segments.size()) << golden.key;
  uint64_t bytes = 0;
  for (const auto& [name, tensor] : golden.segments) {
    bytes += ExpectEqual(segments.at(name), GoldenBytes(file, tensor), golden.key + " " + name);
  }
  return bytes;
}

uint64_t CheckDequantize(const GoldenFile& file, const GoldenScheme& golden) {
  if (golden.dequantized.empty()) return 0;
  std::map<std::string, Bytes> segments;
  for (const auto& [name, tensor] : golden.segments) segments[name] = GoldenBytes(file, tensor);
  const Bytes values = ReferenceDequantize(ReferencePreset(golden.preset, golden.overrides), golden.dequantized_dtype,
                                           golden.shape, segments);
  return ExpectEqual(values, GoldenBytes(file, golden.dequantized), golden.key + " values");
}

uint64_t EqualBytes(const std::string& file_name) {
  const GoldenFile file(file_name);
  uint64_t bytes = 0;
  for (const GoldenScheme& golden : GoldenSchemesOf(file, file_name)) {
    bytes += CheckQuantize(file, golden) + CheckDequantize(file, golden);
  }
  return bytes;
}

// The numbers are the sizes of all tensors of a file that are not inputs, so that nothing can be left out unseen.
TEST(ReferenceScheme, EqualsBitsandbytes4Bit) { EXPECT_EQ(EqualBytes("bnb_4bit"), 1424884); }
TEST(ReferenceScheme, EqualsBitsandbytesDoubleQuant) {
  constexpr uint64_t kCodesOnceMore = 200856;
  EXPECT_EQ(EqualBytes("bnb_double_quant"), 1303760 + kCodesOnceMore);
}
TEST(ReferenceScheme, EqualsBitsandbytes8Bit) { EXPECT_EQ(EqualBytes("bnb_8bit"), 889056); }
TEST(ReferenceScheme, EqualsBitsandbytesOnNanAndInfinity) { EXPECT_EQ(EqualBytes("bnb_special"), 201072); }
TEST(ReferenceScheme, EqualsCompressedTensorsOnCuda) { EXPECT_EQ(EqualBytes("compressed_tensors"), 7148652); }
TEST(ReferenceScheme, EqualsTorchaoMx) { EXPECT_EQ(EqualBytes("mx"), 254976); }
TEST(ReferenceScheme, EqualsTorchFp8Casts) { EXPECT_EQ(EqualBytes("fp8_casts"), 264192); }
TEST(ReferenceScheme, EqualsGguf) { EXPECT_EQ(EqualBytes("ggml"), 661218); }

}  // namespace
}  // namespace quantd::testing
