#include "kernels/cpu/ggml_blocks.h"

#include "kernels/format/ggml.h"
#include "kernels/format/value_types.h"

namespace quantd {
namespace {

template <class Block, class Values>
void EncodeBlocks(const Strip& strip, std::byte* blocks) {
  using Bits = typename Values::Bits;
  float values[kGgmlBlockElements];
  uint8_t block[Block::kBytes];
  for (uint64_t begin = 0; begin < strip.element_count(); begin += kGgmlBlockElements, blocks += Block::kBytes) {
    for (uint32_t i = 0; i < kGgmlBlockElements; ++i) {
      values[i] = Values::Widen(LoadUnaligned<Bits>(strip.values + (begin + i) * sizeof(Bits)));
    }
    Block::Encode(values, block);
    std::memcpy(blocks, block, Block::kBytes);
  }
}

template <class Block, class Values>
void DecodeBlocks(const std::byte* blocks, uint64_t element_count, std::byte* target) {
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

// Calls function(Block{}) with the scheme's block.
template <class Function>
void WithBlock(const Scheme& scheme, Function function) {
  if (scheme.element == Element::kInt8) return function(GgmlByteBlock{});
  if (scheme.element == Element::kInt5) {
    return scheme.symmetric ? function(GgmlNibbleBlock<5, false>{}) : function(GgmlNibbleBlock<5, true>{});
  }
  return scheme.symmetric ? function(GgmlNibbleBlock<4, false>{}) : function(GgmlNibbleBlock<4, true>{});
}

}  // namespace

void EncodeGgmlBlocks(const Scheme& scheme, const Strip& strip, std::byte* blocks) {
  WithBlock(scheme, [&]<class Block>(Block) {
    WithValues(strip.dtype, [&]<class Values>(Values) { EncodeBlocks<Block, Values>(strip, blocks); });
  });
}

void DecodeGgmlBlocks(const Scheme& scheme, const std::byte* blocks, uint64_t element_count, DataType dtype,
                      std::byte* values) {
  WithBlock(scheme, [&]<class Block>(Block) {
    WithValues(dtype, [&]<class Values>(Values) { DecodeBlocks<Block, Values>(blocks, element_count, values); });
  });
}

}  // namespace quantd
