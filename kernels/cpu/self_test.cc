#include <algorithm>
#include <cfenv>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/base/crc32c.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/base/status_macros.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/float_environment.h"
#include "kernels/cpu/known_answers.h"
#include "kernels/format/value_types.h"
#include "kernels/scheme/batch_layout.h"

namespace quantd {
namespace {

// More than one nested block of 64-element blocks; columns that every group size of the presets divides.
constexpr uint64_t kRows = 46;
constexpr uint64_t kColumns = 384;
constexpr uint64_t kElements = kRows * kColumns;
constexpr float kOffset = 0.5f;
constexpr float kAmax = 0x1p10f;

uint32_t Hash(uint32_t value) {
  value = (value ^ value >> 16) * 0x7feb352du;
  value = (value ^ value >> 15) * 0x846ca68bu;
  return value ^ value >> 16;
}

// Blocks of every magnitude from subnormal to beyond 2^126, and blocks of zeros.
float InputValue(uint32_t index) {
  const uint32_t block = index / 64;
  if (block % 16 == 5) return 0.0f;
  const int exponent = block % 16 == 7 ? -130 : block % 16 == 11 ? 127 : static_cast<int>(block % 41) - 20;
  const auto fraction = static_cast<float>(static_cast<int32_t>(Hash(index)) >> 8) * 0x1p-23f;
  return std::ldexp(fraction, exponent);
}

template <class Values>
void FillAs(std::byte* values) {
  for (uint32_t i = 0; i < kElements; ++i) {
    float value = InputValue(i);
    if (std::isinf(Values::Widen(Values::Narrow(value)))) value = std::copysign(Values::kLargestFinite, value);
    StoreUnaligned(values + i * sizeof(typename Values::Bits), Values::Narrow(value));
  }
}

void Fill(DataType dtype, std::byte* values) {
  const ScopedFloatEnvironment environment;
  if (dtype == DataType::kFloat32) return FillAs<Float32Values>(values);
  if (dtype == DataType::kFloat16) return FillAs<Float16Values>(values);
  FillAs<BFloat16Values>(values);
}

// Upward rounding while it lives: a backend that relies on its caller's mode will be found out.
class ScopedUpwardRounding {
 public:
  ScopedUpwardRounding() : saved_(std::fegetround()) { std::fesetround(FE_UPWARD); }
  ~ScopedUpwardRounding() { std::fesetround(saved_); }
  ScopedUpwardRounding(const ScopedUpwardRounding&) = delete;
  ScopedUpwardRounding& operator=(const ScopedUpwardRounding&) = delete;

 private:
  int saved_;
};

// The whole tensor in one batch of one pass, in memory of its own.
class WholeTensor {
 public:
  explicit WholeTensor(const Plan& plan)
      : plan_(plan), layout_(LayOut(plan.passes[0], plan.unit_count())), parameters_(ParametersOf(plan, {}, 0)) {
    memory_.resize(layout_.bytes);
    for (const SegmentLayout& input : plan.passes[0].inputs) {
      whole_inputs_.emplace_back(input.whole_tensor() ? input.bytes : 0);
    }
  }

  std::byte* Values() { return memory_.data() + layout_.inputs[0].offset; }

  absl::Status Run(Backend& backend) {
    const Pass& pass = plan_.passes[0];
    UnitBatch batch{.end_unit = plan_.unit_count(), .parameters = parameters_};
    for (size_t i = 0; i < pass.inputs.size(); ++i) batch.inputs[i] = Input(i);
    for (size_t i = 0; i < pass.outputs.size(); ++i) batch.outputs[i] = memory_.data() + layout_.outputs[i].offset;
    const std::atomic<bool> cancelled = false;
    const ScopedUpwardRounding hostile;
    return backend.Run(plan_, batch, cancelled).status();
  }

  uint32_t OutputCrc32c() const {
    uint32_t crc = 0;
    for (size_t i = 0; i < layout_.outputs.size(); ++i) crc = ExtendCrc32c(crc, Output(i));
    return crc;
  }

  // Copies what `quantized` made to the inputs of the same names.
  void TakeOutputsOf(const WholeTensor& quantized) {
    for (size_t i = 0; i < plan_.passes[0].inputs.size(); ++i) {
      const auto& outputs = quantized.plan_.passes[0].outputs;
      const auto made = std::ranges::find(outputs, plan_.passes[0].inputs[i].name, &SegmentLayout::name);
      const std::vector<std::byte> bytes = quantized.Output(static_cast<size_t>(made - outputs.begin()));
      std::ranges::copy(bytes, Input(i));
    }
  }

 private:
  std::byte* Input(size_t i) {
    return plan_.passes[0].inputs[i].whole_tensor() ? whole_inputs_[i].data()
                                                    : memory_.data() + layout_.inputs[i].offset;
  }
  std::vector<std::byte> Output(size_t i) const {
    const SegmentLayout& segment = plan_.passes[0].outputs[i];
    if (segment.whole_tensor()) return WholeTensorBytes(plan_, segment, parameters_);
    const std::byte* const begin = memory_.data() + layout_.outputs[i].offset;
    return {begin, begin + segment.bytes};
  }

  const Plan& plan_;
  BatchLayout layout_;
  TensorParameters parameters_;
  std::vector<std::byte> memory_;
  std::vector<std::vector<std::byte>> whole_inputs_;
};

// With every statistic of the whole tensor given, so that there is one pass.
absl::StatusOr<Plan> OnePassPlan(const Scheme& scheme, DataType dtype) {
  const uint64_t shape[] = {kRows, kColumns};
  KnownStatistics known;
  if (scheme.double_quant) known.offset = kOffset;
  if (scheme.grouping == Grouping::kTensor || scheme.scale_dtype == ScaleDtype::kE4m3) known.amax = kAmax;
  return MakePlan(scheme, Direction::kQuantize, dtype, shape, known);
}

struct Checksums {
  uint32_t quantized = 0;
  uint32_t dequantized = 0;
};

absl::StatusOr<Checksums> Compute(Backend& backend, std::string_view preset, bool double_quant, DataType dtype) {
  SchemeRequest request{std::string(preset), {}, 0};
  if (double_quant) request.overrides["double_quant"] = "true";
  QUANTD_ASSIGN_OR_RETURN(const Scheme scheme, ResolveScheme(request));
  QUANTD_ASSIGN_OR_RETURN(const Plan quantize, OnePassPlan(scheme, dtype));
  QUANTD_ASSIGN_OR_RETURN(const Plan dequantize,
                          MakePlan(quantize.scheme, Direction::kDequantize, dtype, quantize.shape));
  WholeTensor quantized(quantize);
  Fill(dtype, quantized.Values());
  QUANTD_RETURN_IF_ERROR(quantized.Run(backend));
  WholeTensor dequantized(dequantize);
  dequantized.TakeOutputsOf(quantized);
  QUANTD_RETURN_IF_ERROR(dequantized.Run(backend));
  return Checksums{quantized.OutputCrc32c(), dequantized.OutputCrc32c()};
}

absl::Status Check(Backend& backend, const KnownAnswer& known) {
  QUANTD_ASSIGN_OR_RETURN(const Checksums computed, Compute(backend, known.preset, known.double_quant, known.dtype));
  if (computed.quantized == known.quantized_crc32c && computed.dequantized == known.dequantized_crc32c) {
    return absl::OkStatus();
  }
  return MakeError(
      absl::StatusCode::kInternal, reason::kBackendFailed,
      absl::StrCat("this machine computes wrong bytes for ", std::string(known.preset),
                   known.double_quant ? " double_quant" : "", " ", std::string(InfoOf(known.dtype).name), " on ",
                   std::string(backend.name()), " (CRC32C quantized ", absl::Hex(computed.quantized, absl::kZeroPad8),
                   ", dequantized ", absl::Hex(computed.dequantized, absl::kZeroPad8),
                   "); report it with the processor's model"));
}

}  // namespace

absl::Status SelfTest(Backend& backend) {
  for (const KnownAnswer& known : kKnownAnswers) QUANTD_RETURN_IF_ERROR(Check(backend, known));
  return absl::OkStatus();
}

}  // namespace quantd
