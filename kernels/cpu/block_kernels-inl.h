// The loops over blocks, written once. Every instruction set's source file includes this after it has chosen its
// target; the namespace without a name keeps code for one processor out of the others' functions.

#include <algorithm>
#include <cmath>

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/value_types.h"
#include "kernels/format/block_arithmetic.h"
#include "kernels/format/format_list.h"

namespace quantd {
namespace {

template <class Values>
typename Values::Bits LoadBits(const std::byte* values, uint64_t index) {
  return LoadUnaligned<typename Values::Bits>(values + index * sizeof(typename Values::Bits));
}

template <class Values>
typename Values::Magnitude MagnitudeOf(typename Values::Bits bits) {
  return static_cast<typename Values::Magnitude>(bits & Values::kMagnitudeMask);
}

template <class Values>
float WidenMagnitude(typename Values::Magnitude magnitude) {
  return Values::Widen(static_cast<typename Values::Bits>(magnitude));
}

// The loops over a block's elements in plain C++. A target may have its own in the same shape.
struct PortableLoops {
  template <class Values>
  static typename Values::Magnitude MaxMagnitude(const std::byte* values, uint32_t count) {
    typename Values::Magnitude largest = 0;
    for (uint32_t i = 0; i < count; ++i) largest = std::max(largest, MagnitudeOf<Values>(LoadBits<Values>(values, i)));
    return largest;
  }

  // Codes of `count` values, two to a byte, the first in the high nibble. An odd count ends in half a byte: the other
  // half is the code of a zero.
  template <class Format, class Rules, class Values>
  static void Encode(const std::byte* values, uint32_t count, float factor, std::byte* codes) {
    static_assert(Format::kBits == 4);
    // As wide as the values, because compilers then keep one vector layout from load to code.
    alignas(64) uint32_t block_codes[kBlockElementsMax];
    for (uint32_t i = 0; i < count; ++i) {
      block_codes[i] = Format::Encode(Rules::Normalize(Values::Widen(LoadBits<Values>(values, i)), factor));
    }
    if (count % 2 != 0) block_codes[count] = Format::Encode(Rules::Normalize(0.0f, factor));
    for (size_t i = 0; i < (count + 1) / 2; ++i) {
      codes[i] = static_cast<std::byte>(block_codes[2 * i] << 4 | block_codes[2 * i + 1]);
    }
  }

  // The values of `count` codes.
  template <class Format, class Rules, class Values>
  static void Decode(const std::byte* codes, uint32_t count, float scale, std::byte* values) {
    using Bits = typename Values::Bits;
    // All that the block can hold, rounded once each; the rest is looking up.
    Bits restored[16];
    for (uint8_t code = 0; code < 16; ++code) {
      restored[code] = Values::Narrow(Rules::Restore(Format::Decode(code), scale));
    }
    for (size_t i = 0; i < count / 2; ++i) {
      const auto pair = static_cast<uint8_t>(codes[i]);
      StoreUnaligned(values + 2 * i * sizeof(Bits), restored[pair >> 4]);
      StoreUnaligned(values + (2 * i + 1) * sizeof(Bits), restored[pair & 15]);
    }
    if (count % 2 != 0) {
      StoreUnaligned(values + (count - 1) * sizeof(Bits), restored[static_cast<uint8_t>(codes[count / 2]) >> 4]);
    }
  }
};

// Counts and locates what is not finite, and returns the largest magnitude that is.
template <class Values>
float ExamineNonfinite(const std::byte* values, uint32_t count, uint64_t first_element, BatchResult& result) {
  typename Values::Magnitude largest = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const auto magnitude = MagnitudeOf<Values>(LoadBits<Values>(values, i));
    if (magnitude < Values::kInfinity) {
      largest = std::max(largest, magnitude);
    } else {
      ++result.nonfinite_count;
      result.first_nonfinite_element = std::min(result.first_nonfinite_element, first_element + i);
    }
  }
  return WidenMagnitude<Values>(largest);
}

// absmax as fmaxf finds it from -FLT_MAX up: NaN is passed over, and the padding of a short block counts.
template <class Values>
float LibraryAbsmax(const std::byte* values, uint32_t count, uint32_t block_size) {
  float absmax = count < block_size ? 0.0f : -Float32Values::kLargestFinite;
  for (uint32_t i = 0; i < count; ++i) {
    const auto magnitude = MagnitudeOf<Values>(LoadBits<Values>(values, i));
    if (magnitude <= Values::kInfinity) absmax = std::max(absmax, WidenMagnitude<Values>(magnitude));
  }
  return absmax;
}

template <class Values>
void Saturate(const std::byte* values, uint32_t count, std::byte* finite_float32) {
  for (uint32_t i = 0; i < count; ++i) {
    const float value = Values::Widen(LoadBits<Values>(values, i));
    const float finite = std::isnan(value)   ? 0.0f
                         : std::isinf(value) ? std::copysign(Values::kLargestFinite, value)
                                             : value;
    StoreUnaligned(finite_float32 + i * sizeof(float), finite);
  }
}

template <class Format, class Rules, class Values>
float EncodeNonfiniteBlock(const EncodeJob& job, const std::byte* values, uint32_t count, std::byte* codes) {
  if (job.nonfinite == NonfinitePolicy::kLibrary) {
    const float scale = Rules::ScaleOf(LibraryAbsmax<Values>(values, count, job.block_size));
    PortableLoops::Encode<Format, Rules, Values>(values, count, Rules::FactorOf(scale), codes);
    return scale;
  }
  // A batch that will be rejected is saturated too, so that no byte of the output stays what it was.
  alignas(64) std::byte finite[kBlockElementsMax * sizeof(float)];
  Saturate<Values>(values, count, finite);
  const float scale =
      Rules::ScaleOf(WidenMagnitude<Float32Values>(PortableLoops::MaxMagnitude<Float32Values>(finite, count)));
  PortableLoops::Encode<Format, Rules, Float32Values>(finite, count, Rules::FactorOf(scale), codes);
  return scale;
}

template <class Loops, class Format, class Rules, class Values>
void Encode(const EncodeJob& job, BatchResult& result) {
  std::byte* scales = job.scales;
  for (uint64_t begin = 0; begin < job.element_count; begin += job.block_size, scales += sizeof(float)) {
    const auto count = static_cast<uint32_t>(std::min<uint64_t>(job.block_size, job.element_count - begin));
    const std::byte* values = job.values + begin * sizeof(typename Values::Bits);
    std::byte* codes = job.codes + begin / 2;
    const auto largest = Loops::template MaxMagnitude<Values>(values, count);
    if (largest < Values::kInfinity) [[likely]] {
      const float absmax = WidenMagnitude<Values>(largest);
      result.amax = std::max(result.amax, absmax);
      const float scale = Rules::ScaleOf(absmax);
      Loops::template Encode<Format, Rules, Values>(values, count, Rules::FactorOf(scale), codes);
      StoreUnaligned(scales, scale);
    } else {
      result.amax = std::max(result.amax, ExamineNonfinite<Values>(values, count, job.first_element + begin, result));
      StoreUnaligned(scales, EncodeNonfiniteBlock<Format, Rules, Values>(job, values, count, codes));
    }
  }
}

template <class Loops, class Format, class Rules, class Values>
void Decode(const DecodeJob& job) {
  const std::byte* scales = job.scales;
  for (uint64_t begin = 0; begin < job.element_count; begin += job.block_size, scales += sizeof(float)) {
    const auto count = static_cast<uint32_t>(std::min<uint64_t>(job.block_size, job.element_count - begin));
    Loops::template Decode<Format, Rules, Values>(job.codes + begin / 2, count, LoadUnaligned<float>(scales),
                                                  job.values + begin * sizeof(typename Values::Bits));
  }
}

template <class Loops, class Format, class Rules, class... Values>
constexpr ByValueType<EncodeFunction> kEncodeByValueType = {&Encode<Loops, Format, Rules, Values>...};
template <class Loops, class Format, class Rules, class... Values>
constexpr ByValueType<DecodeFunction> kDecodeByValueType = {&Decode<Loops, Format, Rules, Values>...};

template <class Loops, class Rules, class... Formats>
constexpr ByElement<EncodeFunction> MakeEncodeTable(FormatList<Formats...>) {
  return {kEncodeByValueType<Loops, Formats, Rules, Float32Values, Float16Values, BFloat16Values>...};
}
template <class Loops, class Rules, class... Formats>
constexpr ByElement<DecodeFunction> MakeDecodeTable(FormatList<Formats...>) {
  return {kDecodeByValueType<Loops, Formats, Rules, Float32Values, Float16Values, BFloat16Values>...};
}

template <class Loops>
constexpr KernelTable MakeKernelTable(std::string_view target) {
  static_assert(static_cast<size_t>(Arithmetic::kStrict) == 0 && static_cast<size_t>(Arithmetic::kBitsandbytes) == 1);
  return {target,
          {MakeEncodeTable<Loops, StrictArithmetic>(AllFormats{}),
           MakeEncodeTable<Loops, BitsandbytesArithmetic>(AllFormats{})},
          {MakeDecodeTable<Loops, StrictArithmetic>(AllFormats{}),
           MakeDecodeTable<Loops, BitsandbytesArithmetic>(AllFormats{})}};
}

}  // namespace
}  // namespace quantd
