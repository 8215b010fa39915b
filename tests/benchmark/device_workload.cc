#include "tests/benchmark/device_workload.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "kernels/cpu/cpu_backend.h"
#include "tests/benchmark/device_copy.h"
#include "tests/benchmark/device_timer.h"

namespace quantd::testing {
namespace {

constexpr uint64_t kVerifiedElements = 1 << 22;
constexpr float kAmax = 8;  // of the values, at most

template <class T>
T OrThrow(absl::StatusOr<T> result) {
  if (!result.ok()) throw std::runtime_error(result.status().ToString());
  return *std::move(result);
}
void OrThrow(const absl::Status& status) {
  if (!status.ok()) throw std::runtime_error(status.ToString());
}

Plan PlanOf(const DeviceScheme& scheme, Direction direction, DataType dtype, uint64_t value_bytes) {
  const uint64_t shape[] = {value_bytes / SizeBytes(dtype) / scheme.columns, scheme.columns};
  const KnownStatistics known = direction == Direction::kQuantize ? scheme.known : KnownStatistics{};
  return OrThrow(MakePlan(OrThrow(ResolveScheme(scheme.request)), direction, dtype, shape, known));
}

LaunchPolicy PolicyOfDevice() {
  cudaDeviceProp properties{};
  Check(cudaGetDeviceProperties(&properties, 0));
  return LaunchPolicyFor(properties.major, properties.minor, static_cast<uint32_t>(properties.multiProcessorCount));
}

uint64_t SegmentBytes(const std::vector<SegmentLayout>& segments) {
  uint64_t bytes = 0;
  for (const SegmentLayout& segment : segments) {
    if (!segment.whole_tensor() && segment.name != kSpooledValuesSegment) bytes += segment.bytes;
  }
  return bytes;
}

}  // namespace

DeviceWorkload::DeviceWorkload(const DeviceScheme& scheme, DataType dtype, uint64_t value_bytes, uint32_t tensors,
                               CudaKernels kernels, cudaStream_t stream)
    : quantize_(PlanOf(scheme, Direction::kQuantize, dtype, value_bytes)),
      dequantize_(PlanOf(scheme, Direction::kDequantize, dtype, value_bytes)),
      parameters_(ParametersOf(quantize_, {.amax = kAmax, .lowest = -kAmax, .highest = kAmax}, 0)),
      kernels_(kernels),
      policy_(PolicyOfDevice()),
      stream_(stream),
      tensors_(tensors) {
  OrThrow(scratch_.Reserve(std::max(DeviceScratchBytes(quantize_, quantize_.element_count),
                                    DeviceScratchBytes(dequantize_, dequantize_.element_count))));
  for (uint32_t i = 0; i < tensors; ++i) {
    Tensor& tensor = tensors_[i];
    OrThrow(tensor.values.Reserve(value_bytes));
    OrThrow(tensor.restored.Reserve(value_bytes));
    for (const SegmentLayout& segment : dequantize_.passes[0].inputs) {
      if (!segment.whole_tensor())
        OrThrow(tensor.segments[segment.name].Reserve(std::max<uint64_t>(segment.bytes, 16)));
    }
    LaunchNormalValues(tensor.values.data(), quantize_.element_count, dtype, i, stream_);
  }
  Check(cudaStreamSynchronize(stream_));
}

std::byte* DeviceWorkload::MemoryOf(const Tensor& tensor, const Plan& plan, const SegmentLayout& segment) const {
  if (segment.whole_tensor()) return nullptr;
  if (segment.name == kSpooledValuesSegment) return tensor.values.data();
  if (segment.name == kValuesSegment) {
    return (plan.direction == Direction::kQuantize ? tensor.values : tensor.restored).data();
  }
  return tensor.segments.find(segment.name)->second.data();
}

DeviceBatch DeviceWorkload::BatchOf(const Plan& plan, uint32_t pass, const Tensor& tensor) const {
  DeviceBatch batch{.plan = plan,
                    .pass = pass,
                    .element_count = plan.element_count,
                    .parameters = parameters_,
                    .scratch = scratch_.data(),
                    .kernels = kernels_,
                    .policy = policy_};
  const Pass& segments = plan.passes[pass];
  for (size_t i = 0; i < segments.inputs.size(); ++i) batch.inputs[i] = MemoryOf(tensor, plan, segments.inputs[i]);
  for (size_t i = 0; i < segments.outputs.size(); ++i) batch.outputs[i] = MemoryOf(tensor, plan, segments.outputs[i]);
  return batch;
}

void DeviceWorkload::Quantize() {
  for (const Tensor& tensor : tensors_) {
    for (uint32_t pass = 0; pass < quantize_.passes.size(); ++pass) {
      DeviceBatch batch = BatchOf(quantize_, pass, tensor);
      batch.findings = OrThrow(findings_.Next(stream_));
      OrThrow(LaunchQuantize({&batch, 1}, stream_));
    }
  }
}

void DeviceWorkload::Dequantize() {
  for (const Tensor& tensor : tensors_) {
    const DeviceBatch batch = BatchOf(dequantize_, 0, tensor);
    OrThrow(LaunchDequantize({&batch, 1}, stream_));
  }
}

uint64_t DeviceWorkload::QuantizeBytes() const {
  uint64_t bytes = 0;
  for (const Pass& pass : quantize_.passes) bytes += SegmentBytes(pass.outputs) + pass.inputs[0].bytes;
  return bytes;
}
uint64_t DeviceWorkload::DequantizeBytes() const {
  return SegmentBytes(dequantize_.passes[0].inputs) + SegmentBytes(dequantize_.passes[0].outputs);
}

bool DeviceWorkload::QuantizedRight() const { return IsRight(quantize_); }
bool DeviceWorkload::DequantizedRight() const { return IsRight(dequantize_); }

bool DeviceWorkload::IsRight(const Plan& plan) const {
  Check(cudaStreamSynchronize(stream_));
  const uint64_t units = std::clamp<uint64_t>(kVerifiedElements / plan.unit_elements, 1, plan.unit_count());
  const auto last = static_cast<uint32_t>(plan.passes.size() - 1);
  const Pass& pass = plan.passes[last];
  UnitBatch batch{.pass = last, .end_unit = units, .parameters = parameters_};
  std::vector<std::vector<std::byte>> inputs;
  std::vector<std::vector<std::byte>> outputs;
  const auto copied = [&](const SegmentLayout& segment) {
    std::vector<std::byte> bytes(plan.BytesOf(segment, 0, units).second);
    Check(cudaMemcpy(bytes.data(), MemoryOf(tensors_[0], plan, segment), bytes.size(), cudaMemcpyDeviceToHost));
    return bytes;
  };
  for (const SegmentLayout& segment : pass.inputs) {
    if (segment.whole_tensor()) {
      const auto& made = quantize_.passes.back().outputs;
      inputs.push_back(
          WholeTensorBytes(quantize_, *std::ranges::find(made, segment.name, &SegmentLayout::name), parameters_));
    } else {
      inputs.push_back(copied(segment));
    }
    batch.inputs[inputs.size() - 1] = inputs.back().data();
  }
  for (const SegmentLayout& segment : pass.outputs) {
    outputs.emplace_back(segment.whole_tensor() ? 0 : plan.BytesOf(segment, 0, units).second);
    batch.outputs[outputs.size() - 1] = segment.whole_tensor() ? nullptr : outputs.back().data();
  }
  const std::atomic<bool> cancelled = false;
  OrThrow(OrThrow(MakeCpuBackend("auto"))->Run(plan, batch, cancelled).status());
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!pass.outputs[i].whole_tensor() && copied(pass.outputs[i]) != outputs[i]) return false;
  }
  return true;
}

}  // namespace quantd::testing
