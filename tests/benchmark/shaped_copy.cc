#include "tests/benchmark/shaped_copy.h"

#include <cstring>

namespace quantd::testing {
namespace {

template <size_t kBytes>
using Register [[gnu::vector_size(kBytes)]] = uint64_t;

template <class Register>
[[gnu::always_inline]] inline void Load(const std::byte* source, Register& into) {
  std::memcpy(&into, source, sizeof(into));
}
template <class Register>
[[gnu::always_inline]] inline void Store(std::byte* target, const Register& from) {
  std::memcpy(target, &from, sizeof(from));
}

// Reads kRatio registers of values for each register of codes, and those left over with the last; the codes' last
// register may overlap the one before it.
template <uint64_t kRegisterBytes, uint64_t kRatio>
[[gnu::always_inline]] inline void EncodeShape(const CopyShape& shape, uint64_t chunks, const CopyBuffers& buffers) {
  const std::byte* values = buffers.values;
  std::byte* codes = buffers.codes;
  std::byte* scales = buffers.scales;
  const uint64_t whole = shape.code_bytes / kRegisterBytes;
  const uint64_t left_over = shape.value_bytes / kRegisterBytes - whole * kRatio;
  for (uint64_t chunk = 0; chunk < chunks; ++chunk) {
    Register<kRegisterBytes> sum{};
    Register<kRegisterBytes> part;
    for (uint64_t i = 0; i < whole; ++i) {
      Load(values, sum);
      for (uint64_t k = 1; k < kRatio; ++k) {
        Load(values + k * kRegisterBytes, part);
        sum |= part;
      }
      Store(codes + i * kRegisterBytes, sum);
      values += kRatio * kRegisterBytes;
    }
    for (uint64_t i = 0; i < left_over; ++i, values += kRegisterBytes) {
      Load(values, part);
      sum |= part;
    }
    if (left_over > 0) Store(codes + shape.code_bytes - kRegisterBytes, sum);
    codes += shape.code_bytes;
    const uint64_t scale = sum[0];
    for (uint64_t i = 0; i < shape.scale_bytes; i += sizeof(scale)) std::memcpy(scales + i, &scale, sizeof(scale));
    scales += shape.scale_bytes;
  }
}

template <uint64_t kRegisterBytes, uint64_t kRatio>
[[gnu::always_inline]] inline void DecodeShape(const CopyShape& shape, uint64_t chunks, const CopyBuffers& buffers) {
  std::byte* values = buffers.values;
  const std::byte* codes = buffers.codes;
  const std::byte* scales = buffers.scales;
  const uint64_t whole = shape.code_bytes / kRegisterBytes;
  const uint64_t left_over = shape.value_bytes / kRegisterBytes - whole * kRatio;
  for (uint64_t chunk = 0; chunk < chunks; ++chunk) {
    uint64_t scale_sum = 0;
    for (uint64_t i = 0; i < shape.scale_bytes; i += sizeof(scale_sum)) {
      uint64_t scale = 0;
      std::memcpy(&scale, scales + i, sizeof(scale));
      scale_sum |= scale;
    }
    scales += shape.scale_bytes;
    Register<kRegisterBytes> copied;
    for (uint64_t i = 0; i < whole; ++i) {
      Load(codes + i * kRegisterBytes, copied);
      copied |= scale_sum;
      for (uint64_t k = 0; k < kRatio; ++k) Store(values + k * kRegisterBytes, copied);
      values += kRatio * kRegisterBytes;
    }
    if (left_over > 0) Load(codes + shape.code_bytes - kRegisterBytes, copied);
    for (uint64_t i = 0; i < left_over; ++i, values += kRegisterBytes) Store(values, copied);
    codes += shape.code_bytes;
  }
}

// The inner loops have no branch: there is one for each ratio of value bytes to code bytes.
#define QUANTD_FOR_RATIO(function, bytes)                 \
  switch (shape.value_bytes / shape.code_bytes) {         \
    case 1:                                               \
      return function<bytes, 1>(shape, chunks, buffers);  \
    case 2:                                               \
      return function<bytes, 2>(shape, chunks, buffers);  \
    case 3:                                               \
      return function<bytes, 3>(shape, chunks, buffers);  \
    case 4:                                               \
      return function<bytes, 4>(shape, chunks, buffers);  \
    case 5:                                               \
      return function<bytes, 5>(shape, chunks, buffers);  \
    case 6:                                               \
      return function<bytes, 6>(shape, chunks, buffers);  \
    case 7:                                               \
      return function<bytes, 7>(shape, chunks, buffers);  \
    case 8:                                               \
    case 9:                                               \
      return function<bytes, 8>(shape, chunks, buffers);  \
    default:                                              \
      return function<bytes, 10>(shape, chunks, buffers); \
  }
#define QUANTD_COPIES(name, target_attribute, bytes)                                                         \
  target_attribute void Encode##name(const CopyShape& shape, uint64_t chunks, const CopyBuffers& buffers){   \
      QUANTD_FOR_RATIO(EncodeShape, bytes)} target_attribute void Decode##name(const CopyShape& shape,       \
                                                                               uint64_t chunks,              \
                                                                               const CopyBuffers& buffers) { \
    QUANTD_FOR_RATIO(DecodeShape, bytes)                                                                     \
  }
QUANTD_COPIES(Baseline, , 16)
#if defined(__x86_64__)
QUANTD_COPIES(Avx2, [[gnu::target("avx2")]], 32)
QUANTD_COPIES(Avx512, [[gnu::target("avx512f")]], 64)
#endif
#undef QUANTD_COPIES
#undef QUANTD_FOR_RATIO

using Copy = void (*)(const CopyShape&, uint64_t, const CopyBuffers&);
struct Copies {
  Copy encode;
  Copy decode;
};

Copies Widest() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return {EncodeAvx512, DecodeAvx512};
  if (__builtin_cpu_supports("avx2")) return {EncodeAvx2, DecodeAvx2};
#endif
  return {EncodeBaseline, DecodeBaseline};
}

}  // namespace

void CopyEncode(const CopyShape& shape, uint64_t chunks, const CopyBuffers& buffers) {
  Widest().encode(shape, chunks, buffers);
}
void CopyDecode(const CopyShape& shape, uint64_t chunks, const CopyBuffers& buffers) {
  Widest().decode(shape, chunks, buffers);
}

}  // namespace quantd::testing
