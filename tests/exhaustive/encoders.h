// Every way in which a kernel table encodes, with a factor that changes nothing, and what it must make of a float.
#pragma once

#include <string>
#include <vector>

#include "kernels/cpu/kernel_table.h"
#include "tests/exhaustive/staircase.h"

namespace quantd::testing {

struct Encoder {
  Element element;
  Transform transform;
  Rules rules;
  Staircase stairs;

  std::string name() const;
  int bits() const { return InfoOf(element).bits; }
};

// Of every element, every transform that makes sense for it and every rule for overflow and zeros.
const std::vector<Encoder>& AllEncoders();

// Encodes `count` values as one run.
void Encode(const KernelTable& kernels, const Encoder& encoder, DataType dtype, const void* values, uint64_t count,
            std::vector<std::byte>& codes);

// Codes one after another as docs/formats.md packs them; the last byte is filled up with the code of a 0 where the
// first code lies in the high nibble, else with zeros.
void Pack(const Encoder& encoder, std::span<const uint16_t> codes, std::vector<std::byte>& packed);

}  // namespace quantd::testing
