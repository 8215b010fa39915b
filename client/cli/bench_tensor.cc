#include "client/cli/bench_tensor.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>

#include "kernels/base/crc32c.h"
#include "kernels/base/float16.h"
#include "kernels/base/status_macros.h"

namespace quantd::cli {
namespace {

constexpr size_t kPeriodElements = 1 << 20;
constexpr float kLargest = 8;  // no value of the generator reaches it

std::vector<std::byte> NormalValues(DataType dtype, uint64_t count) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  const size_t element_bytes = SizeBytes(dtype);
  std::vector<std::byte> values(count * element_bytes);
  const uint64_t period = std::min<uint64_t>(count, kPeriodElements);
  for (uint64_t i = 0; i < period; ++i) {
    const float value = std::clamp(normal(random), -kLargest, kLargest);
    const uint16_t half = dtype == DataType::kFloat16 ? Float32ToFloat16(value) : Float32ToBFloat16(value);
    std::memcpy(values.data() + i * element_bytes,
                dtype == DataType::kFloat32 ? static_cast<const void*>(&value) : &half, element_bytes);
  }
  for (size_t at = period * element_bytes; at < values.size();) {
    const size_t bytes = std::min(values.size() - at, period * element_bytes);
    std::memcpy(values.data() + at, values.data(), bytes);
    at += bytes;
  }
  return values;
}

}  // namespace

absl::StatusOr<BenchTensor> BenchTensor::Make(const SchemeRequest& request, DataType dtype, uint64_t rows,
                                              uint64_t columns) {
  QUANTD_ASSIGN_OR_RETURN(const Scheme scheme, ResolveScheme(request));
  BenchTensor tensor;
  tensor.dtype_ = dtype;
  tensor.shape_ = {rows, columns};
  // The first of these that leaves nothing to be found: a scheme refuses what it does not use.
  const KnownStatistics candidates[] = {{},
                                        {.offset = kLargest / 2},
                                        {.amax = kLargest},
                                        {.min = -kLargest, .max = kLargest},
                                        {.offset = kLargest / 2, .amax = kLargest}};
  QUANTD_ASSIGN_OR_RETURN(Plan plan, MakePlan(scheme, Direction::kQuantize, dtype, tensor.shape_));
  for (const KnownStatistics& known : candidates) {
    auto better = MakePlan(scheme, Direction::kQuantize, dtype, tensor.shape_, known);
    if (!better.ok() || better->NeedsSpool()) continue;
    plan = *std::move(better);
    tensor.statistics_ = known;
    break;
  }
  for (const SegmentLayout& segment : plan.WireOutputs()) tensor.segment_bytes_ += segment.bytes;
  tensor.values_ = std::make_shared<const std::vector<std::byte>>(NormalValues(dtype, rows * columns));
  return tensor;
}

TensorView BenchTensor::Rows(uint64_t rows) const {
  TensorView view = View();
  view.shape[0] = std::min(rows, view.shape[0]);
  view.values = view.values.first(view.shape[0] * view.shape[1] * SizeBytes(dtype_));
  return view;
}

absl::Status DigestSink::Begin(const SchemeRequest&, std::span<const SegmentView> segments, std::span<const uint64_t>) {
  segments_.clear();
  for (const SegmentView& segment : segments) segments_[segment.name];
  return absl::OkStatus();
}

absl::Status DigestSink::Write(const std::string& segment, uint64_t, std::span<const std::byte> bytes) {
  Digest& digest = segments_[segment];
  digest.bytes += bytes.size();
  digest.crc = ExtendCrc32c(digest.crc, bytes);
  const auto kept = bytes.first(std::min<size_t>(bytes.size(), kPrefixBytesMax - digest.prefix.size()));
  digest.prefix.insert(digest.prefix.end(), kept.begin(), kept.end());
  return absl::OkStatus();
}

}  // namespace quantd::cli
