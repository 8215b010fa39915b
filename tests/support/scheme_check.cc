#include "tests/support/scheme_check.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/every_backend.h"

namespace quantd::testing {
namespace {

void ExpectEqualBytes(const Bytes& actual, const Bytes& expected, const Backend& backend, const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  const auto at = std::ranges::mismatch(actual, expected).in1 - actual.begin();
  ASSERT_EQ(at, static_cast<std::ptrdiff_t>(expected.size()))
      << backend.target() << " " << what << ": byte " << at << " is " << static_cast<int>(actual[at]) << ", expected "
      << static_cast<int>(expected[at]);
}

}  // namespace

Backends EveryTarget() {
  Backends backends;
  for (const std::string& name : BackendNames()) backends.push_back(MakeBackend(name));
  return backends;
}

std::string Text(const SchemeRequest& request) {
  std::string text = request.preset;
  for (const auto& [name, value] : request.overrides) text.append(" ").append(name).append("=").append(value);
  return text;
}

void ExpectEqualsReference(const Backends& backends, const SchemeRequest& request, DataType dtype,
                           const std::vector<uint64_t>& shape, const Bytes& values, uint64_t units_per_batch,
                           const ReferenceChannels& channels) {
  const ChannelArrays arrays{!channels.smoothing_factors.empty(), !channels.importance.empty()};
  const Plan plan = PlanOrDie(request, Direction::kQuantize, dtype, shape, {}, arrays);
  const SchemeRequest resolved = FullyResolved(plan.scheme);
  const auto expected = ReferenceQuantize(resolved.overrides, dtype, shape, values, {}, channels);
  for (const auto& backend : backends) {
    const TensorRun run = RunTensor(*backend, plan,
                                    {{"values", values},
                                     {"smoothing_factors", BytesOf(channels.smoothing_factors)},
                                     {"importance", BytesOf(channels.importance)}},
                                    units_per_batch);
    ASSERT_EQ(plan.WireOutputs().size(), expected.size());
    for (const SegmentLayout& segment : plan.WireOutputs()) {
      ExpectEqualBytes(run.outputs.at(segment.name), expected.at(segment.name), *backend, segment.name);
    }
  }
  const SegmentBytes segments(expected.begin(), expected.end());
  for (const DataType target : kFloatTypes) {
    const Plan back = PlanOrDie(resolved, Direction::kDequantize, target, shape);
    const Bytes restored = ReferenceDequantize(resolved.overrides, target, shape, expected);
    for (const auto& backend : backends) {
      ExpectEqualBytes(RunTensor(*backend, back, segments, units_per_batch).outputs.at("values"), restored, *backend,
                       "values as " + std::string(InfoOf(target).name));
    }
  }
}

}  // namespace quantd::testing
