#include "tests/support/tensor_runner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "kernels/scheme/scale_mean.h"
#include "tests/support/reference_quantizer.h"

namespace quantd::testing {
namespace {

constexpr std::byte kGuard{0xa5};
constexpr size_t kGuardBytes = 13;  // odd: nothing is aligned

// A buffer with guard bytes on both sides.
class Guarded {
 public:
  explicit Guarded(size_t bytes) : bytes_(bytes), memory_(bytes + 2 * kGuardBytes, kGuard) {}
  std::byte* data() { return memory_.data() + kGuardBytes; }
  size_t size() const { return bytes_; }
  bool intact() const {
    const auto is_guard = [](std::byte byte) { return byte == kGuard; };
    return std::all_of(memory_.begin(), memory_.begin() + kGuardBytes, is_guard) &&
           std::all_of(memory_.end() - kGuardBytes, memory_.end(), is_guard);
  }

 private:
  size_t bytes_;
  Bytes memory_;
};

std::pair<uint64_t, uint64_t> RangeOf(const Plan& plan, const SegmentLayout& segment, const UnitBatch& batch) {
  if (segment.whole_tensor()) return {0, segment.bytes};
  return plan.BytesOf(segment, batch.begin_unit, batch.end_unit);
}

void RunBatch(Backend& backend, const Plan& plan, UnitBatch batch, SegmentBytes& segments, BatchResult& total) {
  const Pass& pass = plan.passes[batch.pass];
  std::vector<Guarded> inputs;
  std::vector<Guarded> outputs;
  for (const SegmentLayout& segment : pass.inputs) {
    const auto [begin, end] = RangeOf(plan, segment, batch);
    Guarded& input = inputs.emplace_back(end - begin);
    std::copy_n(segments.at(segment.name).begin() + static_cast<std::ptrdiff_t>(begin), end - begin, input.data());
  }
  for (const SegmentLayout& segment : pass.outputs) {
    const auto [begin, end] = RangeOf(plan, segment, batch);
    outputs.emplace_back(segment.whole_tensor() ? 0 : end - begin);
  }
  for (size_t i = 0; i < inputs.size(); ++i) batch.inputs[i] = inputs[i].data();
  for (size_t i = 0; i < outputs.size(); ++i) {
    batch.outputs[i] = pass.outputs[i].whole_tensor() ? nullptr : outputs[i].data();
  }
  const std::atomic<bool> cancelled = false;
  const auto result = backend.Run(plan, batch, cancelled);
  ASSERT_TRUE(result.ok()) << result.status();
  total.Merge(*result);
  for (size_t i = 0; i < outputs.size(); ++i) {
    EXPECT_TRUE(outputs[i].intact()) << "written outside of " << pass.outputs[i].name;
    if (pass.outputs[i].whole_tensor()) continue;
    const uint64_t begin = RangeOf(plan, pass.outputs[i], batch).first;
    std::copy_n(outputs[i].data(), outputs[i].size(),
                segments.at(pass.outputs[i].name).begin() + static_cast<std::ptrdiff_t>(begin));
  }
}

float MeanOf(const Plan& plan, const Bytes& scales) {
  ScaleMean mean;
  const uint64_t nested_bytes = plan.passes[1].inputs[0].unit_bytes;
  for (uint64_t begin = 0; begin < scales.size(); begin += nested_bytes) {
    const uint64_t bytes = std::min(nested_bytes, scales.size() - begin);
    mean.AddNestedBlock(scales.data() + begin, bytes / sizeof(float));
  }
  return mean.Mean();
}

}  // namespace

TensorRun RunTensor(Backend& backend, const Plan& plan, const SegmentBytes& inputs, uint64_t units_per_batch,
                    bool error_metrics) {
  TensorRun run;
  SegmentBytes segments = inputs;
  TensorParameters parameters = ParametersOf(plan, {}, 0);
  for (uint32_t pass = 0; pass < plan.passes.size(); ++pass) {
    if (pass == 1) {
      const auto scales = segments.find(kSpooledScalesSegment);
      parameters = ParametersOf(plan, run.result.range, scales == segments.end() ? 0.0f : MeanOf(plan, scales->second));
      run.result = plan.scheme.double_quant ? run.result : BatchResult{};
    }
    for (const SegmentLayout& segment : plan.passes[pass].outputs) segments[segment.name].resize(segment.bytes);
    for (uint64_t begin = 0; begin < plan.unit_count(); begin += std::min(units_per_batch, plan.unit_count())) {
      const uint64_t end = begin + std::min(units_per_batch, plan.unit_count() - begin);
      const UnitBatch batch{
          .pass = pass, .begin_unit = begin, .end_unit = end, .parameters = parameters, .error_metrics = error_metrics};
      RunBatch(backend, plan, batch, segments, run.result);
    }
    for (const SegmentLayout& segment : plan.passes[pass].outputs) {
      if (segment.whole_tensor()) segments[segment.name] = WholeTensorBytes(plan, segment, parameters);
      run.outputs[segment.name] = segments[segment.name];
    }
  }
  return run;
}

Plan PlanOrDie(const SchemeRequest& request, Direction direction, DataType dtype, const std::vector<uint64_t>& shape,
               const KnownStatistics& known, const ChannelArrays& channel_arrays) {
  const auto scheme = ResolveScheme(request);
  if (!scheme.ok()) throw std::runtime_error(scheme.status().ToString());
  auto plan = MakePlan(*scheme, direction, dtype, shape, known, channel_arrays);
  if (!plan.ok()) throw std::runtime_error(plan.status().ToString());
  return *std::move(plan);
}

Bytes Narrowed(const std::vector<float>& values, DataType dtype) {
  if (dtype == DataType::kFloat32) return BytesOf(values);
  std::vector<uint16_t> narrow(values.size());
  std::ranges::transform(values, narrow.begin(),
                         dtype == DataType::kFloat16 ? ReferenceToFloat16 : ReferenceToBFloat16);
  return BytesOf(narrow);
}

std::vector<float> Widened(const Bytes& bytes, DataType dtype) {
  if (dtype == DataType::kFloat32) return ValuesOf<float>(bytes);
  const auto narrow = ValuesOf<uint16_t>(bytes);
  std::vector<float> values(narrow.size());
  std::ranges::transform(narrow, values.begin(),
                         dtype == DataType::kFloat16 ? ReferenceFromFloat16 : ReferenceFromBFloat16);
  return values;
}

std::mt19937_64 MakeRandom(uint64_t seed) {
  ::testing::Test::RecordProperty("seed", std::to_string(seed));
  return std::mt19937_64(seed);
}

std::vector<float> RandomTensor(std::mt19937_64& random, uint64_t element_count, uint32_t block_size) {
  std::normal_distribution<float> normal;
  std::vector<float> values(element_count);
  for (uint64_t begin = 0; begin < element_count; begin += block_size) {
    const uint64_t kind = random() % 16;
    const float factor = kind == 0   ? 0.0f
                         : kind == 1 ? 0x1p-128f
                         : kind == 2 ? 0x1p125f
                         : kind == 3 ? 0x1p-24f
                                     : std::ldexp(1.0f, static_cast<int>(random() % 20) - 10);
    for (uint64_t i = begin; i < std::min(begin + block_size, element_count); ++i) {
      // Clamped, so that float32 stays finite.
      values[i] = std::clamp(normal(random), -4.0f, 4.0f) * factor;
    }
  }
  return values;
}

}  // namespace quantd::testing
