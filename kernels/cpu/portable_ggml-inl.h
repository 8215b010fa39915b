// The portable loops over ggml's blocks, and the part of a target's table that is about them.
#pragma once

#include "kernels/cpu/kernel_table.h"
#include "kernels/format/ggml.h"
#include "kernels/format/value_types.h"

namespace quantd {
namespace {

template <class Block, class Values>
void PortableEncodeGgml(const std::byte* source, uint64_t element_count, std::byte* blocks) {
  using Bits = typename Values::Bits;
  float values[kGgmlBlockElements];
  uint8_t block[Block::kBytes];
  for (uint64_t begin = 0; begin < element_count; begin += kGgmlBlockElements, blocks += Block::kBytes) {
    for (uint32_t i = 0; i < kGgmlBlockElements; ++i) {
      values[i] = Values::Widen(LoadUnaligned<Bits>(source + (begin + i) * sizeof(Bits)));
    }
    Block::Encode(values, block);
    std::memcpy(blocks, block, Block::kBytes);
  }
}

template <class Block, class Values>
void PortableDecodeGgml(const std::byte* blocks, uint64_t element_count, std::byte* target) {
  using Bits = typename Values::Bits;
  float values[kGgmlBlockElements];
  uint8_t block[Block::kBytes];
  for (uint64_t begin = 0; begin < element_count; begin += kGgmlBlockElements, blocks += Block::kBytes) {
    std::memcpy(block, blocks, Block::kBytes);
    Block::Decode(block, values);
    for (uint32_t i = 0; i < kGgmlBlockElements; ++i) {
      StoreUnaligned(target + (begin + i) * sizeof(Bits), Values::Narrow(values[i]));
    }
  }
}

template <class Loops, class Block>
constexpr GgmlFunctions kGgmlFunctionsOf = {
    .encode = {&Loops::template EncodeGgml<Block, Float32Values>, &Loops::template EncodeGgml<Block, Float16Values>,
               &Loops::template EncodeGgml<Block, BFloat16Values>},
    .decode = {&Loops::template DecodeGgml<Block, Float32Values>, &Loops::template DecodeGgml<Block, Float16Values>,
               &Loops::template DecodeGgml<Block, BFloat16Values>},
};

template <class Loops>
constexpr std::array<GgmlFunctions, kGgmlBlockCount> kGgmlFunctions = {
    kGgmlFunctionsOf<Loops, GgmlNibbleBlock<4, false>>, kGgmlFunctionsOf<Loops, GgmlNibbleBlock<4, true>>,
    kGgmlFunctionsOf<Loops, GgmlNibbleBlock<5, false>>, kGgmlFunctionsOf<Loops, GgmlNibbleBlock<5, true>>,
    kGgmlFunctionsOf<Loops, GgmlByteBlock>};
// The same order.
template <class Block>
inline constexpr size_t kGgmlIndexOf = 4;
template <int kBits, bool kHasMinimum>
inline constexpr size_t kGgmlIndexOf<GgmlNibbleBlock<kBits, kHasMinimum>> =
    (kBits == 5 ? 2 : 0) + (kHasMinimum ? 1 : 0);

}  // namespace
}  // namespace quantd
