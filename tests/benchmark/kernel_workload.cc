#include "tests/benchmark/kernel_workload.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/format/value_types.h"

namespace quantd::testing {
namespace {

constexpr uint64_t kColumns = 4096;
constexpr uint64_t kVerifiedElements = 1 << 18;
constexpr float kAmax = 8;

template <class T>
T OrThrow(absl::StatusOr<T> result) {
  if (!result.ok()) throw std::runtime_error(result.status().ToString());
  return *std::move(result);
}

Plan OnePassPlan(const std::string& preset, Direction direction, DataType dtype, uint64_t value_bytes) {
  const Scheme scheme = OrThrow(ResolveScheme({preset, {}, 0}));
  const uint64_t shape[] = {value_bytes / SizeBytes(dtype) / kColumns, kColumns};
  KnownStatistics known;
  const bool of_tensor = scheme.grouping == Grouping::kTensor || scheme.scale_dtype == ScaleDtype::kE4m3;
  if (direction == Direction::kQuantize && of_tensor) known.amax = kAmax;
  return OrThrow(MakePlan(scheme, direction, dtype, shape, known));
}

bool IsCodes(const SegmentLayout& segment) { return segment.name == kCodesSegment || segment.name == kBlocksSegment; }

CopyShape ShapeOf(const Plan& plan) {
  const Pass& pass = plan.passes[0];
  uint64_t code_bytes = 0;
  uint64_t other_bytes = 0;
  for (const auto* segments : {&pass.inputs, &pass.outputs}) {
    for (const SegmentLayout& segment : *segments) {
      if (segment.name == kValuesSegment || segment.whole_tensor()) continue;
      (IsCodes(segment) ? code_bytes : other_bytes) += segment.bytes;
    }
  }
  const uint64_t chunks = plan.element_count / kCopyElements;
  return {kCopyElements * SizeBytes(plan.values_dtype), code_bytes / chunks, (other_bytes / chunks + 4) / 8 * 8};
}

}  // namespace

void KernelWorkload::FreeMemory::operator()(std::byte* memory) const { std::free(memory); }

KernelWorkload::Memory::Memory(const Plan& plan) : layout(LayOut(plan.passes[0], plan.unit_count())) {
  constexpr uint64_t kPageBytes = 4096;
  const uint64_t rounded = (layout.bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
  bytes.reset(static_cast<std::byte*>(std::aligned_alloc(kPageBytes, rounded)));
  if (bytes == nullptr) throw std::runtime_error("not enough memory");
  std::memset(bytes.get(), 0, rounded);
}

std::byte* KernelWorkload::Memory::Segment(const Plan& plan, std::string_view name) const {
  const Pass& pass = plan.passes[0];
  for (size_t i = 0; i < pass.inputs.size(); ++i) {
    if (pass.inputs[i].name == name) return bytes.get() + layout.inputs[i].offset;
  }
  for (size_t i = 0; i < pass.outputs.size(); ++i) {
    if (pass.outputs[i].name == name) return bytes.get() + layout.outputs[i].offset;
  }
  return nullptr;
}

KernelWorkload::KernelWorkload(const std::string& target, const std::string& preset, Direction direction,
                               DataType dtype, uint64_t value_bytes)
    : backend_(OrThrow(MakeCpuBackend(std::string_view(target)))),
      plan_(OnePassPlan(preset, direction, dtype, value_bytes)),
      memory_(plan_),
      shape_(ShapeOf(plan_)) {
  if (direction == Direction::kQuantize) {
    FillValues(memory_.Segment(plan_, kValuesSegment));
  } else {
    FillCodes(OnePassPlan(preset, Direction::kQuantize, dtype, value_bytes));
  }
  std::byte* const codes = memory_.Segment(plan_, kCodesSegment);
  copy_ = {memory_.Segment(plan_, kValuesSegment), codes != nullptr ? codes : memory_.Segment(plan_, kBlocksSegment),
           nullptr};
  scale_room_.resize(plan_.element_count / kCopyElements * shape_.scale_bytes);
  copy_.scales = scale_room_.data();
}

void KernelWorkload::FillValues(std::byte* values) const {
  WithValues(plan_.values_dtype, [&]<class Values>(Values) {
    // Sums of uniform bits are near enough to a normal distribution, and fast.
    uint64_t state = 1;
    for (uint64_t i = 0; i < plan_.element_count; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      const auto sum =
          static_cast<float>((state >> 16 & 0xfff) + (state >> 28 & 0xfff) + (state >> 40 & 0xfff) + (state >> 52)) -
          8190.0f;
      StoreUnaligned(values + i * sizeof(typename Values::Bits), Values::Narrow(sum / 2048));
    }
  });
}

void KernelWorkload::FillCodes(const Plan& quantize) {
  const Memory made(quantize);
  FillValues(made.Segment(quantize, kValuesSegment));
  Run(*OrThrow(MakeCpuBackend("auto")), quantize, made, quantize.unit_count(), {});
  const TensorParameters parameters = ParametersOf(quantize, {}, 0);
  for (const SegmentLayout& segment : quantize.passes[0].outputs) {
    std::byte* const input = memory_.Segment(plan_, segment.name);
    if (segment.whole_tensor()) continue;
    if (input != nullptr) std::memcpy(input, made.Segment(quantize, segment.name), segment.bytes);
  }
  for (const SegmentLayout& input : plan_.passes[0].inputs) {
    const auto& outputs = quantize.passes[0].outputs;
    const auto output = std::ranges::find(outputs, input.name, &SegmentLayout::name);
    whole_inputs_.push_back(input.whole_tensor() ? WholeTensorBytes(quantize, *output, parameters)
                                                 : std::vector<std::byte>());
  }
}

void KernelWorkload::Run(Backend& backend, const Plan& plan, const Memory& memory, uint64_t units,
                         const std::vector<std::vector<std::byte>>& whole_inputs) {
  const Pass& pass = plan.passes[0];
  UnitBatch batch{.end_unit = units, .parameters = ParametersOf(plan, {}, 0)};
  for (size_t i = 0; i < pass.inputs.size(); ++i) {
    batch.inputs[i] =
        pass.inputs[i].whole_tensor() ? whole_inputs[i].data() : memory.bytes.get() + memory.layout.inputs[i].offset;
  }
  for (size_t i = 0; i < pass.outputs.size(); ++i) {
    batch.outputs[i] = pass.outputs[i].whole_tensor() ? nullptr : memory.bytes.get() + memory.layout.outputs[i].offset;
  }
  const std::atomic<bool> cancelled = false;
  const auto result = backend.Run(plan, batch, cancelled);
  if (!result.ok()) throw std::runtime_error(result.status().ToString());
}

void KernelWorkload::RunKernel() { Run(*backend_, plan_, memory_, plan_.unit_count(), whole_inputs_); }

void KernelWorkload::RunCopy() {
  const uint64_t chunks = plan_.element_count / kCopyElements;
  if (plan_.direction == Direction::kQuantize) return CopyEncode(shape_, chunks, copy_);
  CopyDecode(shape_, chunks, copy_);
}

bool KernelWorkload::Verify() const {
  const Pass& pass = plan_.passes[0];
  const uint64_t units = std::clamp<uint64_t>(kVerifiedElements / plan_.unit_elements, 1, plan_.unit_count());
  Memory expected(plan_);
  for (size_t i = 0; i < pass.inputs.size(); ++i) {
    const uint64_t offset = memory_.layout.inputs[i].offset;
    std::memcpy(expected.bytes.get() + offset, memory_.bytes.get() + offset, memory_.layout.inputs[i].bytes);
  }
  Run(*OrThrow(MakeCpuBackend("scalar")), plan_, expected, units, whole_inputs_);
  for (size_t i = 0; i < pass.outputs.size(); ++i) {
    if (pass.outputs[i].whole_tensor()) continue;
    const uint64_t bytes = plan_.BytesOf(pass.outputs[i], 0, units).second;
    const uint64_t offset = memory_.layout.outputs[i].offset;
    if (std::memcmp(expected.bytes.get() + offset, memory_.bytes.get() + offset, bytes) != 0) return false;
  }
  return true;
}

}  // namespace quantd::testing
