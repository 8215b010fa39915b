#include "tests/support/scheme_check.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/reference_scheme.h"

namespace quantd::testing {
namespace {

void ExpectEqualBytes(const Bytes& actual, const Bytes& expected, const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  const auto at = std::ranges::mismatch(actual, expected).in1 - actual.begin();
  ASSERT_EQ(at, static_cast<std::ptrdiff_t>(expected.size()))
      << what << ": byte " << at << " is " << static_cast<int>(actual[at]) << ", expected "
      << static_cast<int>(expected[at]);
}

}  // namespace

void ExpectEqualsReference(Backend& backend, const SchemeRequest& request, DataType dtype,
                           const std::vector<uint64_t>& shape, const Bytes& values, uint64_t units_per_batch) {
  const Plan quantize = PlanOrDie(request, Direction::kQuantize, dtype, shape);
  const TensorRun quantized = RunTensor(backend, quantize, {{"values", values}}, units_per_batch);
  const SchemeRequest resolved = FullyResolved(quantize.scheme);
  const auto expected = ReferenceQuantize(resolved.overrides, dtype, shape, values);
  EXPECT_EQ(quantize.WireOutputs().size(), expected.size());
  for (const SegmentLayout& segment : quantize.WireOutputs()) {
    ASSERT_TRUE(expected.contains(segment.name)) << segment.name;
    ExpectEqualBytes(quantized.outputs.at(segment.name), expected.at(segment.name), segment.name);
  }
  for (const DataType target : kFloatTypes) {
    const Plan dequantize = PlanOrDie(resolved, Direction::kDequantize, target, shape);
    const TensorRun restored =
        RunTensor(backend, dequantize, SegmentBytes(expected.begin(), expected.end()), units_per_batch);
    ExpectEqualBytes(restored.outputs.at("values"), ReferenceDequantize(resolved.overrides, target, shape, expected),
                     "values as " + std::string(InfoOf(target).name));
  }
}

}  // namespace quantd::testing
