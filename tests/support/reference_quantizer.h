// A slow quantizer written from the libraries' formulas, in double precision where that is exact. It shares no code and
// no table with kernels/, so that a mistake there is not repeated here.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace quantd::testing {

enum class ReferenceRules { kBitsandbytes, kStrict };

struct ReferenceBlocks {
  std::vector<uint8_t> codes;  // two to a byte for 4-bit formats
  std::vector<float> absmax;   // one for each block
};

// rcp.approx.ftz.f32 as measured: the correctly rounded reciprocal and tests/golden/rcp_approx_ftz_f32.bin.xz.
float ReferenceReciprocal(float value);

// "nf4" or "fp4" codes of values that are already widened to float32.
ReferenceBlocks ReferenceQuantize4Bit(const std::string& format, ReferenceRules rules, uint32_t block_size,
                                      std::span<const float> values);
std::vector<float> ReferenceDequantize4Bit(const std::string& format, ReferenceRules rules, uint32_t block_size,
                                           const ReferenceBlocks& blocks, uint64_t element_count);

// One code of "nf4" or "fp4": of a value that is already divided by absmax, and its level.
uint8_t ReferenceEncode4Bit(const std::string& format, float y);
float ReferenceDecode4Bit(const std::string& format, uint8_t code);

// The dynamic 8-bit code with its table computed and its walk through the table as the library has it.
std::span<const float> ReferenceDynamic8Table();
uint8_t ReferenceDynamic8Encode(float value);
ReferenceBlocks ReferenceQuantizeDynamic8(uint32_t block_size, std::span<const float> values);

// Double quantization of block scales, nested blocks of 256.
ReferenceBlocks ReferenceQuantizeScales(std::span<const float> absmax, float offset);
std::vector<float> ReferenceDequantizeScales(const ReferenceBlocks& nested, float offset);

// Bits of the nearest 16-bit float, ties to even; NaN 0x7fff.
uint16_t ReferenceToFloat16(float value);
uint16_t ReferenceToBFloat16(float value);
float ReferenceFromFloat16(uint16_t half);
float ReferenceFromBFloat16(uint16_t brain);

}  // namespace quantd::testing
