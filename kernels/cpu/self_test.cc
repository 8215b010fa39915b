#include <bit>
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
#include "kernels/cpu/value_types.h"
#include "kernels/scheme/batch_layout.h"

namespace quantd {
namespace {

// One nested block of 64-element blocks, and a ragged, odd rest.
constexpr uint64_t kElements = 64 * 256 + 1001;
constexpr float kOffset = 0.5f;

struct KnownAnswer {
  std::string_view preset;
  bool double_quant;
  DataType dtype;
  uint32_t quantized_crc32c;    // of every per-unit output segment, in the plan's order
  uint32_t dequantized_crc32c;  // of the values that come back
};

constexpr KnownAnswer kKnownAnswers[] = {
    {"bnb-nf4", false, DataType::kFloat32, 0xda357168, 0x78e5ea02},
    {"bnb-nf4", false, DataType::kFloat16, 0xbf0ffe2e, 0xb82f13a4},
    {"bnb-nf4", false, DataType::kBFloat16, 0x0e8daab8, 0x6db4bbd2},
    {"bnb-nf4", true, DataType::kFloat32, 0x32e8aa88, 0x5a3a8bfe},
    {"bnb-nf4", true, DataType::kFloat16, 0xbc7b7a02, 0xa0bf6d50},
    {"bnb-nf4", true, DataType::kBFloat16, 0x29a3961d, 0xb46d705c},
    {"bnb-fp4", false, DataType::kFloat32, 0xe0001f86, 0xeff08b14},
    {"bnb-fp4", false, DataType::kFloat16, 0xee61c4e7, 0xf658d454},
    {"bnb-fp4", false, DataType::kBFloat16, 0x160e1208, 0x902646ed},
    {"bnb-fp4", true, DataType::kFloat32, 0x6ffc8f8c, 0x787f14dc},
    {"bnb-fp4", true, DataType::kFloat16, 0xb1241503, 0xfb06ede9},
    {"bnb-fp4", true, DataType::kBFloat16, 0x4938a5fb, 0xa6d4f9aa},
    {"nf4", false, DataType::kFloat32, 0x3b48e399, 0xd6d6d8ca},
    {"nf4", false, DataType::kFloat16, 0xbb045346, 0xdf99c3c5},
    {"nf4", false, DataType::kBFloat16, 0x5d5ffdd3, 0x02b71f02},
};

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
  explicit WholeTensor(const Plan& plan) : plan_(plan), layout_(LayOut(plan.passes[0], plan.unit_count())) {
    memory_.resize(layout_.bytes);
  }

  // Null for a segment that the pass does not have.
  std::byte* Input(std::string_view name) { return Find(plan_.passes[0].inputs, layout_.inputs, name); }

  absl::Status Run(Backend& backend) {
    const Pass& pass = plan_.passes[0];
    UnitBatch batch{.end_unit = plan_.unit_count(), .offset = kOffset};
    for (size_t i = 0; i < pass.inputs.size(); ++i) batch.inputs[i] = memory_.data() + layout_.inputs[i].offset;
    for (size_t i = 0; i < pass.outputs.size(); ++i) batch.outputs[i] = memory_.data() + layout_.outputs[i].offset;
    const std::byte offset_bytes[4] = {std::byte{0}, std::byte{0}, std::byte{0}, std::byte{0x3f}};
    static_assert(std::bit_cast<uint32_t>(kOffset) == 0x3f000000);
    if (pass.inputs[0].whole_tensor()) batch.inputs[0] = offset_bytes;
    const std::atomic<bool> cancelled = false;
    const ScopedUpwardRounding hostile;
    return backend.Run(plan_, batch, cancelled).status();
  }

  uint32_t OutputCrc32c() const {
    uint32_t crc = 0;
    for (size_t i = 0; i < layout_.outputs.size(); ++i) {
      const SegmentLayout& segment = plan_.passes[0].outputs[i];
      if (segment.whole_tensor()) continue;
      crc = ExtendCrc32c(crc, {memory_.data() + layout_.outputs[i].offset, segment.bytes});
    }
    return crc;
  }

  // Copies what `quantized` made to the inputs of the same names.
  void TakeOutputsOf(const WholeTensor& quantized) {
    for (size_t i = 0; i < quantized.layout_.outputs.size(); ++i) {
      const SegmentLayout& segment = quantized.plan_.passes[0].outputs[i];
      if (segment.whole_tensor()) continue;
      std::memcpy(Input(segment.name), quantized.memory_.data() + quantized.layout_.outputs[i].offset, segment.bytes);
    }
  }

 private:
  std::byte* Find(const std::vector<SegmentLayout>& segments, const std::vector<Area>& areas, std::string_view name) {
    for (size_t i = 0; i < segments.size(); ++i) {
      if (segments[i].name == name) return memory_.data() + areas[i].offset;
    }
    return nullptr;
  }

  const Plan& plan_;
  BatchLayout layout_;
  std::vector<std::byte> memory_;
};

absl::Status Check(Backend& backend, const KnownAnswer& known) {
  const SchemeRequest request{
      std::string(known.preset), {{"double_quant", known.double_quant ? "true" : "false"}, {"block_size", "64"}}, 0};
  QUANTD_ASSIGN_OR_RETURN(const Scheme scheme, ResolveScheme(request));
  const KnownStatistics statistics{known.double_quant ? std::optional(kOffset) : std::nullopt};
  const uint64_t shape[] = {kElements};
  QUANTD_ASSIGN_OR_RETURN(const Plan quantize, MakePlan(scheme, Direction::kQuantize, known.dtype, shape, statistics));
  QUANTD_ASSIGN_OR_RETURN(const Plan dequantize, MakePlan(scheme, Direction::kDequantize, known.dtype, shape));
  WholeTensor quantized(quantize);
  Fill(known.dtype, quantized.Input(kValuesSegment));
  QUANTD_RETURN_IF_ERROR(quantized.Run(backend));
  WholeTensor dequantized(dequantize);
  dequantized.TakeOutputsOf(quantized);
  QUANTD_RETURN_IF_ERROR(dequantized.Run(backend));
  if (quantized.OutputCrc32c() == known.quantized_crc32c && dequantized.OutputCrc32c() == known.dequantized_crc32c) {
    return absl::OkStatus();
  }
  return MakeError(
      absl::StatusCode::kInternal, reason::kBackendFailed,
      absl::StrCat("this machine computes wrong bytes for ", request.preset, known.double_quant ? " double_quant" : "",
                   " ", std::string(InfoOf(known.dtype).name), " on ", std::string(backend.name()),
                   " (CRC32C quantized ", absl::Hex(quantized.OutputCrc32c(), absl::kZeroPad8), ", dequantized ",
                   absl::Hex(dequantized.OutputCrc32c(), absl::kZeroPad8), "); report it with the processor's model"));
}

}  // namespace

absl::Status SelfTest(Backend& backend) {
  for (const KnownAnswer& known : kKnownAnswers) QUANTD_RETURN_IF_ERROR(Check(backend, known));
  return absl::OkStatus();
}

}  // namespace quantd
