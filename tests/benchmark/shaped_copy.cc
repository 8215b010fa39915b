#include "tests/benchmark/shaped_copy.h"

#include <cstring>

namespace quantd::testing {
namespace {

constexpr uint64_t kStepElements = 64;

// A register as wide as the codes of a step; a byte put in between would cost a store forward.
template <size_t kBytes>
struct Codes {
  using Register [[gnu::vector_size(kBytes)]] = uint32_t;
};

template <size_t kValueBytes, size_t kCodeBytes>
[[gnu::always_inline]] inline void CopyEncode(const CopyShape& shape, const std::byte* values, std::byte* codes,
                                              std::byte* scales) {
  using Register = typename Codes<kCodeBytes>::Register;
  for (uint64_t begin = 0; begin < shape.element_count; begin += shape.block_elements) {
    Register all = {};
    for (uint64_t step = 0; step < shape.block_elements; step += kStepElements) {
      Register packed = {};
      for (size_t part = 0; part < kStepElements * kValueBytes / kCodeBytes; ++part) {
        Register read;
        std::memcpy(&read, values + part * kCodeBytes, kCodeBytes);
        packed |= read;
      }
      std::memcpy(codes, &packed, kCodeBytes);
      all |= packed;
      values += kStepElements * kValueBytes;
      codes += kCodeBytes;
    }
    std::memcpy(scales, &all, 8);
    scales += shape.block_scale_bytes;
  }
}

template <size_t kValueBytes, size_t kCodeBytes>
[[gnu::always_inline]] inline void CopyDecode(const CopyShape& shape, std::byte* values, const std::byte* codes,
                                              const std::byte* scales) {
  using Register = typename Codes<kCodeBytes>::Register;
  for (uint64_t begin = 0; begin < shape.element_count; begin += shape.block_elements) {
    uint32_t scale;
    std::memcpy(&scale, scales, sizeof(scale));
    scales += shape.block_scale_bytes;
    for (uint64_t step = 0; step < shape.block_elements; step += kStepElements) {
      Register packed;
      std::memcpy(&packed, codes, kCodeBytes);
      packed |= scale;
      for (size_t part = 0; part < kStepElements * kValueBytes / kCodeBytes; ++part) {
        std::memcpy(values + part * kCodeBytes, &packed, kCodeBytes);
      }
      values += kStepElements * kValueBytes;
      codes += kCodeBytes;
    }
  }
}

// The copy may use what the kernels may.
#define QUANTD_ALL_TARGETS [[gnu::target_clones("default", "avx2", "arch=skylake-avx512"), gnu::noinline]]
#define QUANTD_COPIES(value_bytes, code_bytes)                                                                \
  QUANTD_ALL_TARGETS void Encode##value_bytes##To##code_bytes(const CopyShape& shape, std::byte* values,      \
                                                              std::byte* codes, std::byte* scales) {          \
    CopyEncode<value_bytes, code_bytes>(shape, values, codes, scales);                                        \
  }                                                                                                           \
  QUANTD_ALL_TARGETS void Decode##value_bytes##From##code_bytes(const CopyShape& shape, std::byte* values,    \
                                                                std::byte* codes, std::byte* scales) {        \
    CopyDecode<value_bytes, code_bytes>(shape, values, codes, scales);                                        \
  }
QUANTD_COPIES(4, 32)
QUANTD_COPIES(2, 32)
QUANTD_COPIES(4, 64)
QUANTD_COPIES(2, 64)
QUANTD_COPIES(4, 128)
QUANTD_COPIES(2, 128)
#undef QUANTD_COPIES
#undef QUANTD_ALL_TARGETS

}  // namespace

CopyFunction EncodeShapedCopy(uint32_t value_bytes, uint32_t code_bits) {
  const bool wide = value_bytes == 4;
  switch (code_bits) {
    case 4:
      return wide ? Encode4To32 : Encode2To32;
    case 8:
      return wide ? Encode4To64 : Encode2To64;
    case 16:
      return wide ? Encode4To128 : Encode2To128;
    default:
      return nullptr;
  }
}

CopyFunction DecodeShapedCopy(uint32_t value_bytes, uint32_t code_bits) {
  const bool wide = value_bytes == 4;
  switch (code_bits) {
    case 4:
      return wide ? Decode4From32 : Decode2From32;
    case 8:
      return wide ? Decode4From64 : Decode2From64;
    case 16:
      return wide ? Decode4From128 : Decode2From128;
    default:
      return nullptr;
  }
}

}  // namespace quantd::testing
