// Runs and tails of every small length, and NaN and infinities in each of their places, in every preset on every
// target.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "tests/support/scheme_check.h"

namespace quantd::testing {
namespace {

// Every preset as it is and, where it can be, with short blocks, with rows that may have any length, and with codes of
// every width in such rows.
std::vector<SchemeRequest> AllRequests() {
  std::vector<SchemeRequest> requests;
  for (const PresetInfo& preset : AllPresets()) {
    std::vector<SchemeRequest> candidates = {
        {preset.name, {}, 0}, {preset.name, {{"block_size", "32"}}, 0}, {preset.name, {{"grouping", "channel"}}, 0}};
    for (const char* const element : {"int2", "int3", "int4", "int5", "int6", "int7", "int8"}) {
      candidates.push_back({preset.name, {{"grouping", "channel"}, {"element", element}}, 0});
    }
    std::ranges::copy_if(candidates, std::back_inserter(requests),
                         [](const SchemeRequest& request) { return ResolveScheme(request).ok(); });
  }
  return requests;
}

constexpr uint64_t kShortestBlock = 32;

// Rows of up to two blocks and a bit; whole groups where a row must consist of them, and any number of rows.
std::vector<std::vector<uint64_t>> ShapesFor(const Scheme& scheme) {
  std::vector<std::vector<uint64_t>> shapes;
  if (scheme.grouping == Grouping::kGroup) {
    for (uint64_t rows = 1; rows <= 18; ++rows) shapes.push_back({rows, scheme.group_size * (1 + rows % 3)});
    return shapes;
  }
  const uint64_t block = scheme.grouping == Grouping::kBlock ? scheme.block_size : kShortestBlock;
  for (uint64_t columns = 1; columns <= 2 * std::min<uint64_t>(block, 64) + 3; ++columns) {
    shapes.push_back({1 + columns % 3, columns});
  }
  return shapes;
}

TEST(ShortRuns, OfEveryLengthEqualTheReference) {
  std::mt19937_64 random = MakeRandom(20261125);
  const Backends backends = EveryTarget();
  for (const SchemeRequest& request : AllRequests()) {
    for (const auto& shape : ShapesFor(ResolveScheme(request).value())) {
      for (const DataType dtype : kFloatTypes) {
        SCOPED_TRACE(Text(request) + " " + std::string(InfoOf(dtype).name) + " of " + ::testing::PrintToString(shape));
        std::vector<float> values(shape[0] * shape[1]);
        for (float& value : values) value = std::normal_distribution<float>()(random);
        ExpectEqualsReference(backends, request, dtype, shape, Narrowed(values, dtype), 1 + random() % 3);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Quiet and signalling, with a sign and without.
std::vector<uint32_t> NonfinitePatterns(DataType dtype) {
  if (dtype == DataType::kFloat16) return {0x7c01, 0x7e00, 0xfc01, 0xffff, 0x7c00, 0xfc00};
  if (dtype == DataType::kBFloat16) return {0x7f81, 0x7fc0, 0xff81, 0xffff, 0x7f80, 0xff80};
  return {0x7f800001, 0x7fc00000, 0xff800001, 0xffffffff, 0x7f800000, 0xff800000};
}

TEST(ShortRuns, WithANonfiniteValueInAnyPlaceEqualTheReference) {
  constexpr uint64_t kCount = kShortestBlock + 7;  // a whole block and a ragged one, or a ragged row
  std::mt19937_64 random = MakeRandom(20261126);
  const Backends backends = EveryTarget();
  std::vector<float> finite(kCount);
  for (float& value : finite) value = std::normal_distribution<float>()(random);
  for (const SchemeRequest& short_request : AllRequests()) {
    for (const char* const policy : {"saturate", "library"}) {
      SchemeRequest request = short_request;
      request.overrides["nonfinite"] = policy;
      const auto scheme = ResolveScheme(request);
      if (!scheme.ok() || scheme->grouping == Grouping::kGroup)
        continue;  // groups are whole: conformance_test has them
      for (const DataType dtype : kFloatTypes) {
        for (const uint32_t pattern : NonfinitePatterns(dtype)) {
          for (uint64_t place = 0; place < kCount; ++place) {
            SCOPED_TRACE(Text(request) + " " + std::string(InfoOf(dtype).name) + " with bits " +
                         std::to_string(pattern) + " at " + std::to_string(place));
            Bytes values = Narrowed(finite, dtype);
            std::memcpy(values.data() + place * SizeBytes(dtype), &pattern, SizeBytes(dtype));
            ExpectEqualsReference(backends, request, dtype, {kCount}, values, 1);
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace quantd::testing
