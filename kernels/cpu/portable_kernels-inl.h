// Every loop in plain C++ over the codecs of kernels/format: the specification that the instruction sets' own loops
// must equal, and what runs where they have none. Every instruction set's source file includes this after it has chosen
// its target; the namespace without a name keeps code for one processor out of the others' functions.
#pragma once

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/portable_ggml-inl.h"
#include "kernels/format/arithmetic.h"
#include "kernels/format/bitsandbytes_scales.h"
#include "kernels/format/compressed_tensors_scales.h"
#include "kernels/format/format_list.h"
#include "kernels/format/mx_scales.h"
#include "kernels/format/strict_scales.h"
#include "kernels/format/value_types.h"

namespace quantd {
namespace {

inline uint64_t RunCount(uint64_t element_count, uint64_t run_elements) {
  return (element_count + run_elements - 1) / run_elements;
}

template <class Values>
inline float LoadValue(const std::byte* values, uint64_t index) {
  using Bits = typename Values::Bits;
  return Values::Widen(LoadUnaligned<Bits>(values + index * sizeof(Bits)));
}

// ---- Ranges ----

template <class Values>
void PortableAbsmax(const RunsJob& job, float* absmax) {
  using Bits = typename Values::Bits;
  for (uint64_t begin = 0; begin < job.element_count; begin += job.run_elements) {
    const uint64_t end = std::min(begin + job.run_elements, job.element_count);
    // As integers, because these order as magnitudes do and NaN is above all of them.
    typename Values::Magnitude largest = 0;
    for (uint64_t i = begin; i < end; ++i) {
      const auto bits = LoadUnaligned<Bits>(job.values + i * sizeof(Bits));
      largest = std::max(largest, static_cast<typename Values::Magnitude>(bits & Values::kMagnitudeMask));
    }
    *absmax++ = Values::Widen(static_cast<Bits>(largest));
  }
}

template <class Values>
void PortableRange(const RunsJob& job, float* lowest, float* highest) {
  for (uint64_t begin = 0; begin < job.element_count; begin += job.run_elements) {
    const uint64_t end = std::min(begin + job.run_elements, job.element_count);
    float low = 0;
    float high = 0;
    for (uint64_t i = begin; i < end; ++i) {
      const float value = LoadValue<Values>(job.values, i);
      low = value < low ? value : low;
      high = value > high ? value : high;
    }
    *lowest++ = low;
    *highest++ = high;
  }
}

// ---- Scales ----

template <class Method, class Stored>
void PortableScale(const ScaleJob& job) {
  for (uint64_t i = 0; i < job.run_count; ++i) {
    const bool asymmetric = job.lowest != nullptr;
    const RunScale scale = Method::Make(
        {job.absmax[i], asymmetric ? job.lowest[i] : 0.0f, asymmetric ? job.highest[i] : 0.0f}, *job.parameters);
    StoreUnaligned(job.stored + i * sizeof(Stored), static_cast<Stored>(scale.stored));
    job.factors[i] = scale.factor;
    if (job.zeros != nullptr) job.zeros[i] = scale.zero;
  }
}

template <class Method, class Stored>
void PortableRestoreScale(const RestoreScaleJob& job) {
  for (uint64_t i = 0; i < job.run_count; ++i) {
    job.scales[i] = Method::Restore(LoadUnaligned<Stored>(job.stored + i * sizeof(Stored)), *job.parameters);
  }
}

// ---- Codes ----

// Writes codes of kBits one after another. An odd number of nibbles, or a rest of bits, is filled up with `padding`.
template <class Format>
class CodeWriter {
 public:
  explicit CodeWriter(std::byte* target) : target_(target) {}

  void Add(uint32_t code) {
    if constexpr (Format::kBits == 16) {
      StoreUnaligned(target_, static_cast<uint16_t>(code));
      target_ += 2;
    } else if constexpr (Format::kFirstInHighNibble) {
      bits_ = bits_ << Format::kBits | code;
      count_ += Format::kBits;
      if (count_ == 8) Flush();
    } else {
      bits_ |= code << count_;
      count_ += Format::kBits;
      if (count_ >= 8) Flush();
    }
  }
  // Fills up the last byte.
  void Finish(uint32_t padding) {
    if constexpr (Format::kFirstInHighNibble) {
      if (count_ > 0) Add(padding);
    } else if (count_ > 0) {
      *target_ = static_cast<std::byte>(bits_);
    }
  }

 private:
  void Flush() {
    *target_++ = static_cast<std::byte>(bits_);
    bits_ >>= 8;
    count_ -= 8;
  }

  std::byte* target_;
  uint32_t bits_ = 0;
  int count_ = 0;
};

template <class Format>
inline uint32_t CodeAt(const std::byte* codes, uint64_t index) {
  if constexpr (Format::kBits == 16) return LoadUnaligned<uint16_t>(codes + index * 2);
  if constexpr (Format::kBits == 8) return static_cast<uint8_t>(codes[index]);
  if constexpr (Format::kFirstInHighNibble) {
    return static_cast<uint8_t>(codes[index / 2]) >> (index % 2 == 0 ? 4 : 0) & 15u;
  }
  const uint64_t bit = index * Format::kBits;
  uint32_t window = static_cast<uint8_t>(codes[bit / 8]);
  // The next byte is read only if the code reaches into it: there may be none.
  if (bit % 8 + Format::kBits > 8) window |= uint32_t{static_cast<uint8_t>(codes[bit / 8 + 1])} << 8;
  return window >> bit % 8 & ((1u << Format::kBits) - 1);
}

template <Transform kTransform, class Format, class Values>
void PortableEncode(const EncodeJob& job) {
  CodeWriter<Format> writer(job.codes);
  uint64_t run = 0;
  for (uint64_t begin = 0; begin < job.element_count; begin += job.run_elements, ++run) {
    const uint64_t end = std::min(begin + job.run_elements, job.element_count);
    const float factor = job.factors[run];
    const float zero = kTransform == Transform::kDivideAddZero ? job.zeros[run] : 0.0f;
    for (uint64_t i = begin; i < end; ++i) {
      const float value = LoadValue<Values>(job.values, i);
      writer.Add(Encoded<Format>(Transformed<kTransform>(value, factor, zero), value, job) ^ job.code_xor);
    }
  }
  if constexpr (Format::kFirstInHighNibble) {
    if (run > 0) writer.Finish(Encoded<Format>(Transformed<kTransform>(0.0f, job.factors[run - 1], 0.0f), 0.0f, job));
  } else {
    writer.Finish(0);
  }
}

template <Restore kRestore, class Format, class Values>
void PortableDecode(const DecodeJob& job) {
  using Bits = typename Values::Bits;
  uint64_t run = 0;
  for (uint64_t begin = 0; begin < job.element_count; begin += job.run_elements, ++run) {
    const uint64_t end = std::min(begin + job.run_elements, job.element_count);
    for (uint64_t i = begin; i < end; ++i) {
      const uint32_t code = CodeAt<Format>(job.codes, i) ^ job.code_xor;
      Bits bits;
      if (job.scales == nullptr) {
        bits = Values::Cast(Format::Decode(code));
      } else {
        const float zero = job.zeros == nullptr ? 0.0f : job.zeros[run];
        bits = Values::Narrow(Restored<kRestore, Format>(code, job.scales[run], zero));
      }
      StoreUnaligned(job.values + i * sizeof(Bits), bits);
    }
  }
}

// ---- Channels and clippings ----

template <class Values>
void PortableMultiply(const MultiplyJob& job) {
  using Bits = typename Values::Bits;
  for (uint64_t i = 0; i < job.count; ++i) {
    const float factor = LoadUnaligned<float>(job.factors + i * sizeof(float));
    StoreUnaligned(job.products + i * sizeof(Bits), Values::Narrow(LoadValue<Values>(job.values, i) * factor));
  }
}

inline float SquaredError(const ClipJob& job, uint64_t index, size_t clip) {
  const float exact = job.values[index] * job.reciprocals[clip] + (job.zeros == nullptr ? 0.0f : job.zeros[clip]);
  const float error = exact - RoundEven(Clamp(exact, job.lowest, job.highest));
  const float square = error * error;
  return job.weights == nullptr ? square : square * job.weights[index];
}

// From `begin` on, a multiple of kClipLanes.
inline void AddClipErrors(const ClipJob& job, uint64_t begin) {
  for (size_t clip = 0; clip < kClipsAtOnce; ++clip) {
    float* const sums = job.sums + clip * kClipLanes;
    for (uint64_t i = begin; i < job.count; i += kClipLanes) {
      const uint64_t lanes = std::min<uint64_t>(kClipLanes, job.count - i);
      for (uint64_t lane = 0; lane < lanes; ++lane) sums[lane] += SquaredError(job, i + lane, clip);
    }
  }
}

// ---- Tables ----

// The loops of one target; a target derives from this and hides what it has its own of.
struct PortableLoops {
  template <class Values>
  static void Absmax(const RunsJob& job, float* absmax) {
    PortableAbsmax<Values>(job, absmax);
  }
  template <class Values>
  static void Range(const RunsJob& job, float* lowest, float* highest) {
    PortableRange<Values>(job, lowest, highest);
  }
  template <class Method, class Stored>
  static void Scale(const ScaleJob& job) {
    PortableScale<Method, Stored>(job);
  }
  template <class Method, class Stored>
  static void RestoreScale(const RestoreScaleJob& job) {
    PortableRestoreScale<Method, Stored>(job);
  }
  template <Transform kTransform, class Format, class Values>
  static void Encode(const EncodeJob& job) {
    PortableEncode<kTransform, Format, Values>(job);
  }
  template <Restore kRestore, class Format, class Values>
  static void Decode(const DecodeJob& job) {
    PortableDecode<kRestore, Format, Values>(job);
  }
  template <class Values>
  static void Multiply(const MultiplyJob& job) {
    PortableMultiply<Values>(job);
  }
  template <class Block, class Values>
  static void EncodeGgml(const std::byte* values, uint64_t element_count, std::byte* blocks) {
    PortableEncodeGgml<Block, Values>(values, element_count, blocks);
  }
  template <class Block, class Values>
  static void DecodeGgml(const std::byte* blocks, uint64_t element_count, std::byte* values) {
    PortableDecodeGgml<Block, Values>(blocks, element_count, values);
  }
  static void ClipErrors(const ClipJob& job) { AddClipErrors(job, 0); }
};

template <class Loops, Transform kTransform, class Format>
constexpr ByFloatType<EncodeFunction> EncodeByValues() {
  if constexpr (!MakesSense<Format>(kTransform)) {
    return {};
  } else {
    return {&Loops::template Encode<kTransform, Format, Float32Values>,
            &Loops::template Encode<kTransform, Format, Float16Values>,
            &Loops::template Encode<kTransform, Format, BFloat16Values>};
  }
}

template <class Loops, Restore kRestore, class Format>
constexpr ByFloatType<DecodeFunction> DecodeByValues() {
  if constexpr (!MakesSense<Format>(kRestore)) {
    return {};
  } else {
    return {&Loops::template Decode<kRestore, Format, Float32Values>,
            &Loops::template Decode<kRestore, Format, Float16Values>,
            &Loops::template Decode<kRestore, Format, BFloat16Values>};
  }
}

template <class Loops, Transform kTransform, class... Formats>
constexpr ByElement<EncodeFunction> EncodeByElement(FormatList<Formats...>) {
  return {EncodeByValues<Loops, kTransform, Formats>()...};
}
template <class Loops, Restore kRestore, class... Formats>
constexpr ByElement<DecodeFunction> DecodeByElement(FormatList<Formats...>) {
  return {DecodeByValues<Loops, kRestore, Formats>()...};
}

// A method's functions, rounding to each float type.
template <class Loops, class Method32, class Method16, class MethodB16, class Stored32, class Stored16>
constexpr ByFloatType<ScaleFunction> kScaleOf = {&Loops::template Scale<Method32, Stored32>,
                                                 &Loops::template Scale<Method16, Stored16>,
                                                 &Loops::template Scale<MethodB16, Stored16>};
template <class Loops, class Method32, class Method16, class MethodB16, class Stored32, class Stored16>
constexpr ByFloatType<RestoreScaleFunction> kRestoreScaleOf = {&Loops::template RestoreScale<Method32, Stored32>,
                                                               &Loops::template RestoreScale<Method16, Stored16>,
                                                               &Loops::template RestoreScale<MethodB16, Stored16>};

template <class Loops, template <class> class Method, class Stored32, class Stored16>
constexpr void SetMethod(KernelTable& table, ScaleMethod method) {
  const auto index = static_cast<size_t>(method);
  table.scale[index] =
      kScaleOf<Loops, Method<Float32Scale>, Method<Float16Scale>, Method<BFloat16Scale>, Stored32, Stored16>;
  table.restore_scale[index] =
      kRestoreScaleOf<Loops, Method<Float32Scale>, Method<Float16Scale>, Method<BFloat16Scale>, Stored32, Stored16>;
}

template <class Loops, class Method, class MethodFloat16, class Stored>
constexpr void SetMethod(KernelTable& table, ScaleMethod method) {
  const auto index = static_cast<size_t>(method);
  table.scale[index] = kScaleOf<Loops, Method, MethodFloat16, Method, Stored, Stored>;
  table.restore_scale[index] = kRestoreScaleOf<Loops, Method, MethodFloat16, Method, Stored, Stored>;
}

template <class Loops>
constexpr KernelTable MakeKernelTable(std::string_view target) {
  KernelTable table{.target = target};
  table.absmax = {&Loops::template Absmax<Float32Values>, &Loops::template Absmax<Float16Values>,
                  &Loops::template Absmax<BFloat16Values>};
  table.range = {&Loops::template Range<Float32Values>, &Loops::template Range<Float16Values>,
                 &Loops::template Range<BFloat16Values>};
  SetMethod<Loops, BitsandbytesAbsmax, BitsandbytesAbsmax, uint32_t>(table, ScaleMethod::kBitsandbytesAbsmax);
  SetMethod<Loops, BitsandbytesRow, BitsandbytesRow, uint32_t>(table, ScaleMethod::kBitsandbytesRow);
  SetMethod<Loops, StrictAbsmax, uint32_t, uint16_t>(table, ScaleMethod::kStrictAbsmax);
  SetMethod<Loops, StrictSymmetric, uint32_t, uint16_t>(table, ScaleMethod::kStrictSymmetric);
  SetMethod<Loops, StrictAsymmetric, uint32_t, uint16_t>(table, ScaleMethod::kStrictAsymmetric);
  SetMethod<Loops, CompressedTensorsSymmetric, uint32_t, uint16_t>(table, ScaleMethod::kCompressedTensorsSymmetric);
  SetMethod<Loops, CompressedTensorsAsymmetric, uint32_t, uint16_t>(table, ScaleMethod::kCompressedTensorsAsymmetric);
  SetMethod<Loops, CompressedTensorsNvfp4, uint8_t, uint8_t>(table, ScaleMethod::kCompressedTensorsNvfp4);
  SetMethod<Loops, CompressedTensorsMx<false>, CompressedTensorsMx<true>, uint8_t>(table,
                                                                                   ScaleMethod::kCompressedTensorsMx);
  SetMethod<Loops, MxFloor, MxFloor, uint8_t>(table, ScaleMethod::kMxFloor);
  SetMethod<Loops, MxCeil, MxCeil, uint8_t>(table, ScaleMethod::kMxCeil);
  SetMethod<Loops, MxEven, MxEven, uint8_t>(table, ScaleMethod::kMxEven);
  SetMethod<Loops, MxRceil, MxRceil, uint8_t>(table, ScaleMethod::kMxRceil);
  table.encode = {EncodeByElement<Loops, Transform::kMultiply>(AllFormats{}),
                  EncodeByElement<Loops, Transform::kMultiplyFtz>(AllFormats{}),
                  EncodeByElement<Loops, Transform::kDivide>(AllFormats{}),
                  EncodeByElement<Loops, Transform::kDivideAddZero>(AllFormats{})};
  table.decode = {DecodeByElement<Loops, Restore::kMultiply>(AllFormats{}),
                  DecodeByElement<Loops, Restore::kMultiplyFtz>(AllFormats{}),
                  DecodeByElement<Loops, Restore::kLlmInt8>(AllFormats{})};
  table.multiply = {&Loops::template Multiply<Float32Values>, &Loops::template Multiply<Float16Values>,
                    &Loops::template Multiply<BFloat16Values>};
  table.ggml = kGgmlFunctions<Loops>;
  table.clip_errors = &Loops::ClipErrors;
  return table;
}

}  // namespace
}  // namespace quantd
