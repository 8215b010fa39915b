#include "tests/exhaustive/encoders.h"

#include <algorithm>

#include "kernels/format/format_list.h"

namespace quantd::testing {
namespace {

constexpr std::string_view kTransformNames[kTransformCount] = {"multiply", "multiply_ftz", "divide", "divide_add_zero"};

std::vector<Rules> RulesOf(Element element) {
  if (element == Element::kFp8E4m3 || element == Element::kFp8E5m2) return {{}, {.ieee_overflow = true}};
  if (element == Element::kFp4E2m1) return {{}, {.unsigned_zero = true}};
  return {{}};
}

std::vector<Encoder> MakeEncoders() {
  std::vector<Encoder> encoders;
  for (const FormatInfo& format : kFormats) {
    for (size_t transform = 0; transform < kTransformCount; ++transform) {
      if (kBaselineKernels.encode[transform][static_cast<size_t>(format.element)][0] == nullptr) continue;
      for (const Rules rules : RulesOf(format.element)) {
        const auto named = static_cast<Transform>(transform);
        const Staircase stairs = StaircaseOf(format.element, rules);
        encoders.push_back(
            {format.element, named, rules, named == Transform::kMultiplyFtz ? SubnormalsFlushed(stairs) : stairs});
      }
    }
  }
  return encoders;
}

}  // namespace

std::string Encoder::name() const {
  std::string name(InfoOf(element).name);
  name.append(" ").append(kTransformNames[static_cast<size_t>(transform)]);
  if (rules.ieee_overflow) name += " ieee_overflow";
  if (rules.unsigned_zero) name += " unsigned_zero";
  return name;
}

const std::vector<Encoder>& AllEncoders() {
  static const std::vector<Encoder> encoders = MakeEncoders();
  return encoders;
}

void Encode(const KernelTable& kernels, const Encoder& encoder, DataType dtype, const void* values, uint64_t count,
            std::vector<std::byte>& codes) {
  const FormatInfo& format = InfoOf(encoder.element);
  codes.assign((count * static_cast<uint64_t>(format.bits) + 7) / 8, std::byte{0xa5});
  const float one = 1;
  const float zero = 0;
  const EncodeJob job = {.values = static_cast<const std::byte*>(values),
                         .element_count = count,
                         .run_elements = count,
                         .factors = &one,
                         .zeros = encoder.transform == Transform::kDivideAddZero ? &zero : nullptr,
                         .lowest = format.kind == ElementKind::kInteger ? -format.largest - 1 : -format.largest,
                         .highest = format.largest,
                         .code_xor = 0,
                         .ieee_overflow = encoder.rules.ieee_overflow,
                         .unsigned_zero = encoder.rules.unsigned_zero,
                         .codes = codes.data()};
  kernels.encode[static_cast<size_t>(encoder.transform)][static_cast<size_t>(encoder.element)][FloatTypeIndex(dtype)](
      job);
}

void Pack(const Encoder& encoder, std::span<const uint16_t> codes, std::vector<std::byte>& packed) {
  const int bits = encoder.bits();
  if (bits == 16) {
    const auto bytes = std::as_bytes(codes);
    packed.assign(bytes.begin(), bytes.end());
    return;
  }
  if (bits == 8) {
    packed.resize(codes.size());
    std::ranges::transform(codes, packed.begin(), [](uint16_t code) { return static_cast<std::byte>(code); });
    return;
  }
  packed.clear();
  if (encoder.element == Element::kNf4 || encoder.element == Element::kFp4Bnb) {
    const uint32_t padding = CodeOf(encoder.stairs, 0);
    for (size_t i = 0; i < codes.size(); i += 2) {
      packed.push_back(static_cast<std::byte>(codes[i] << 4 | (i + 1 < codes.size() ? codes[i + 1] : padding)));
    }
    return;
  }
  uint32_t waiting = 0;
  int waiting_bits = 0;
  for (const uint16_t code : codes) {
    waiting |= uint32_t{code} << waiting_bits;
    for (waiting_bits += bits; waiting_bits >= 8; waiting_bits -= 8, waiting >>= 8) {
      packed.push_back(static_cast<std::byte>(waiting));
    }
  }
  if (waiting_bits > 0) packed.push_back(static_cast<std::byte>(waiting));
}

}  // namespace quantd::testing
