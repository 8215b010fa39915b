#include "kernels/base/crc32c.h"

#include <array>
#include <bit>
#include <cstring>

#include "kernels/base/crc32c_path.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace quantd {
namespace {

// The Castagnoli polynomial with the bits in CRC order: bit 31 is x^0.
constexpr uint32_t kPolynomial = 0x82F63B78;
constexpr uint32_t kOne = 0x80000000;

constexpr uint32_t TimesX(uint32_t a) { return (a >> 1) ^ ((a & 1) ? kPolynomial : 0); }

// a · b modulo the polynomial.
constexpr uint32_t Multiply(uint32_t a, uint32_t b) {
  uint32_t product = 0;
  for (uint32_t bit = kOne; bit != 0; bit >>= 1) {
    if (a & bit) product ^= b;
    b = TimesX(b);
  }
  return product;
}

// kByteShifts[k] = x^(8 · 2^k): what appending 2^k zero bytes multiplies a CRC with.
constexpr std::array<uint32_t, 64> MakeByteShifts() {
  std::array<uint32_t, 64> shifts{};
  shifts[0] = kOne >> 8;
  for (size_t k = 1; k < shifts.size(); ++k) shifts[k] = Multiply(shifts[k - 1], shifts[k - 1]);
  return shifts;
}
constexpr std::array<uint32_t, 64> kByteShifts = MakeByteShifts();

constexpr uint32_t ShiftOf(uint64_t bytes) {
  uint32_t shift = kOne;
  for (size_t k = 0; bytes != 0; ++k, bytes >>= 1) {
    if (bytes & 1) shift = Multiply(shift, kByteShifts[k]);
  }
  return shift;
}

// tables[k][b]: the byte b multiplied by the shift of the table, for the byte at position k of a 32-bit CRC.
using ShiftTable = std::array<std::array<uint32_t, 256>, 4>;

constexpr ShiftTable MakeShiftTable(uint64_t bytes) {
  const uint32_t shift = ShiftOf(bytes);
  ShiftTable table{};
  for (size_t k = 0; k < 4; ++k) {
    for (uint32_t b = 0; b < 256; ++b) table[k][b] = Multiply(b << (8 * k), shift);
  }
  return table;
}

inline uint32_t Apply(const ShiftTable& table, uint32_t state) {
  return table[0][state & 0xFF] ^ table[1][(state >> 8) & 0xFF] ^ table[2][(state >> 16) & 0xFF] ^
         table[3][state >> 24];
}

static_assert(std::endian::native == std::endian::little);

inline uint64_t Load8(const std::byte* source) {
  uint64_t word;
  std::memcpy(&word, source, 8);
  return word;
}

// --- Software: eight bytes a step.

// The halves of a word are eight and four bytes away from the end of its step.
constexpr ShiftTable kShift4 = MakeShiftTable(4);
constexpr ShiftTable kShift8 = MakeShiftTable(8);
constexpr ShiftTable kShift1 = MakeShiftTable(1);

template <bool kCopy>
uint32_t Software(uint32_t crc, std::byte* target, const std::byte* source, size_t bytes) {
  uint32_t state = ~crc;
  for (; bytes >= 8; bytes -= 8, source += 8) {
    const uint64_t word = Load8(source);
    if constexpr (kCopy) {
      std::memcpy(target, &word, 8);
      target += 8;
    }
    state = Apply(kShift8, state ^ static_cast<uint32_t>(word)) ^ Apply(kShift4, static_cast<uint32_t>(word >> 32));
  }
  for (; bytes > 0; --bytes, ++source) {
    if constexpr (kCopy) *target++ = *source;
    state = Apply(kShift1, state ^ static_cast<uint8_t>(*source));
  }
  return ~state;
}

#if defined(__x86_64__)
// --- Hardware: the instruction takes three cycles but starts every cycle, so three lanes run side by side.

constexpr size_t kLineBytes = 64;

#define QUANTD_SSE42 __attribute__((target("sse4.2")))

// Six streams in 4 KiB are more than the hardware's own prefetch follows; a line that lies behind the end is no harm.
inline void PrefetchNextLanes(const std::byte* source, size_t lane_bytes) {
  for (size_t lane = 3; lane < 6; ++lane) {
    _mm_prefetch(reinterpret_cast<const char*>(source + lane * lane_bytes), _MM_HINT_T0);
  }
}

template <bool kCopy, size_t kLaneBytes>
QUANTD_SSE42 uint32_t ThreeLanes(uint32_t state, const ShiftTable& lane_shift, std::byte* target,
                                 const std::byte* source) {
  uint64_t a = state, b = 0, c = 0;
  for (size_t i = 0; i < kLaneBytes; i += 8) {
    if (kLaneBytes > kLineBytes && i % kLineBytes == 0) PrefetchNextLanes(source + i, kLaneBytes);
    const uint64_t word_a = Load8(source + i);
    const uint64_t word_b = Load8(source + i + kLaneBytes);
    const uint64_t word_c = Load8(source + i + 2 * kLaneBytes);
    if constexpr (kCopy) {
      std::memcpy(target + i, &word_a, 8);
      std::memcpy(target + i + kLaneBytes, &word_b, 8);
      std::memcpy(target + i + 2 * kLaneBytes, &word_c, 8);
    }
    a = _mm_crc32_u64(a, word_a);
    b = _mm_crc32_u64(b, word_b);
    c = _mm_crc32_u64(c, word_c);
  }
  const uint32_t ab = Apply(lane_shift, static_cast<uint32_t>(a)) ^ static_cast<uint32_t>(b);
  return Apply(lane_shift, ab) ^ static_cast<uint32_t>(c);
}

constexpr size_t kLongLaneBytes = 1360;
constexpr size_t kShortLaneBytes = 64;
constexpr ShiftTable kLongLaneShift = MakeShiftTable(kLongLaneBytes);
constexpr ShiftTable kShortLaneShift = MakeShiftTable(kShortLaneBytes);

template <bool kCopy>
QUANTD_SSE42 uint32_t Hardware(uint32_t crc, std::byte* target, const std::byte* source, size_t bytes) {
  uint32_t state = ~crc;
  for (; bytes >= 3 * kLongLaneBytes; bytes -= 3 * kLongLaneBytes, source += 3 * kLongLaneBytes) {
    state = ThreeLanes<kCopy, kLongLaneBytes>(state, kLongLaneShift, target, source);
    if constexpr (kCopy) target += 3 * kLongLaneBytes;
  }
  for (; bytes >= 3 * kShortLaneBytes; bytes -= 3 * kShortLaneBytes, source += 3 * kShortLaneBytes) {
    state = ThreeLanes<kCopy, kShortLaneBytes>(state, kShortLaneShift, target, source);
    if constexpr (kCopy) target += 3 * kShortLaneBytes;
  }
  for (; bytes >= 8; bytes -= 8, source += 8) {
    const uint64_t word = Load8(source);
    if constexpr (kCopy) {
      std::memcpy(target, &word, 8);
      target += 8;
    }
    state = static_cast<uint32_t>(_mm_crc32_u64(state, word));
  }
  for (; bytes > 0; --bytes, ++source) {
    if constexpr (kCopy) *target++ = *source;
    state = _mm_crc32_u8(state, static_cast<uint8_t>(*source));
  }
  return ~state;
}

QUANTD_SSE42 uint32_t HardwareExtend(uint32_t crc, const std::byte* source, size_t bytes) {
  return Hardware<false>(crc, nullptr, source, bytes);
}

// --- Wide: the CRC of a message is that of what remains of it when its first bytes are multiplied by how far they are
// from others and added to them. Four vectors of 64 bytes at a time, by carry-less multiplication (Gopal et al., "Fast
// CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel 2009, whose constants these are).

#define QUANTD_WIDE __attribute__((target("avx512f,vpclmulqdq,pclmul,sse4.2")))

constexpr size_t kVectorBytes = 64;
constexpr size_t kStepBytes = 4 * kVectorBytes;

// What the lower and the upper half of 16 bytes are multiplied by to be added `bytes` later.
struct FoldFactors {
  uint64_t low, high;
};
constexpr FoldFactors FoldFactorsOf(uint64_t bytes) {
  return {static_cast<uint64_t>(ShiftOf(bytes + 4)) << 1, static_cast<uint64_t>(ShiftOf(bytes - 4)) << 1};
}
constexpr FoldFactors kByAStep = FoldFactorsOf(kStepBytes);
constexpr FoldFactors kByAVector = FoldFactorsOf(kVectorBytes);

QUANTD_WIDE inline __m512i Broadcast(FoldFactors factors) {
  return _mm512_set4_epi64(static_cast<int64_t>(factors.high), static_cast<int64_t>(factors.low),
                           static_cast<int64_t>(factors.high), static_cast<int64_t>(factors.low));
}

QUANTD_WIDE inline __m512i Fold(__m512i earlier, __m512i factors, __m512i later) {
  constexpr int kXorOfThree = 0x96;
  return _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(earlier, factors, 0x00),
                                   _mm512_clmulepi64_epi128(earlier, factors, 0x11), later, kXorOfThree);
}

template <bool kCopy>
QUANTD_WIDE inline __m512i Take(std::byte* target, const std::byte* source, size_t at) {
  const __m512i bytes = _mm512_loadu_si512(source + at);
  if constexpr (kCopy) _mm512_storeu_si512(target + at, bytes);
  return bytes;
}

template <bool kCopy>
QUANTD_WIDE uint32_t Wide(uint32_t crc, std::byte* target, const std::byte* source, size_t bytes) {
  if (bytes < kStepBytes) return Hardware<kCopy>(crc, target, source, bytes);
  const __m512i step = Broadcast(kByAStep);
  __m512i sums[4];
  for (size_t i = 0; i < 4; ++i) sums[i] = Take<kCopy>(target, source, i * kVectorBytes);
  sums[0] = _mm512_xor_si512(sums[0], _mm512_zextsi128_si512(_mm_cvtsi32_si128(static_cast<int>(~crc))));
  size_t taken = kStepBytes;
  for (; bytes - taken >= kStepBytes; taken += kStepBytes) {
    for (size_t i = 0; i < 4; ++i) {
      sums[i] = Fold(sums[i], step, Take<kCopy>(target, source, taken + i * kVectorBytes));
    }
  }
  const __m512i vector = Broadcast(kByAVector);
  const __m512i sum = Fold(Fold(Fold(sums[0], vector, sums[1]), vector, sums[2]), vector, sums[3]);
  alignas(kVectorBytes) std::byte rest[kVectorBytes];
  _mm512_store_si512(rest, sum);
  const uint32_t state = ~Hardware<false>(~uint32_t{0}, nullptr, rest, kVectorBytes);
  return Hardware<kCopy>(~state, kCopy ? target + taken : nullptr, source + taken, bytes - taken);
}

QUANTD_WIDE uint32_t WideExtend(uint32_t crc, const std::byte* source, size_t bytes) {
  return Wide<false>(crc, nullptr, source, bytes);
}

#undef QUANTD_WIDE
#undef QUANTD_SSE42
#endif

uint32_t SoftwareExtend(uint32_t crc, const std::byte* source, size_t bytes) {
  return Software<false>(crc, nullptr, source, bytes);
}

const Crc32cPath& BestPath() {
  static const Crc32cPath& path = WideCrc32c() != nullptr       ? *WideCrc32c()
                                  : HardwareCrc32c() != nullptr ? *HardwareCrc32c()
                                                                : SoftwareCrc32c();
  return path;
}

}  // namespace

const Crc32cPath& SoftwareCrc32c() {
  static constexpr Crc32cPath kPath{SoftwareExtend, Software<true>};
  return kPath;
}

const Crc32cPath* HardwareCrc32c() {
#if defined(__x86_64__)
  static constexpr Crc32cPath kPath{HardwareExtend, Hardware<true>};
  return __builtin_cpu_supports("sse4.2") ? &kPath : nullptr;
#else
  return nullptr;
#endif
}

const Crc32cPath* WideCrc32c() {
#if defined(__x86_64__)
  static constexpr Crc32cPath kPath{WideExtend, Wide<true>};
  const bool supported = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("vpclmulqdq");
  return supported && HardwareCrc32c() != nullptr ? &kPath : nullptr;
#else
  return nullptr;
#endif
}

uint32_t ExtendCrc32c(uint32_t crc, std::span<const std::byte> bytes) {
  return BestPath().extend(crc, bytes.data(), bytes.size());
}

uint32_t CopyWithCrc32c(std::byte* target, std::span<const std::byte> source, uint32_t crc) {
  return BestPath().copy(crc, target, source.data(), source.size());
}

uint32_t CombineCrc32c(uint32_t crc_a, uint32_t crc_b, uint64_t bytes_b) {
  if (crc_a == 0) return crc_b;  // of nothing, mostly
  return Multiply(crc_a, ShiftOf(bytes_b)) ^ crc_b;
}

}  // namespace quantd
