// Quotients of values and scales as codes: a target may divide in its own way, but must round as IEEE 754 does.
#pragma once

#include <cstdint>

#include "kernels/cpu/kernel_table.h"

namespace quantd::testing {

// Fails unless the codes of at least `count` pairs of a value and a scale, half of them int8 and half fp8_e4m3, are
// those of the correctly rounded quotients. Pairs are random, with mantissas of ones, or an ulp or so beside a value
// that lies between two codes.
void ExpectDividesAsIeee(const KernelTable& kernels, uint64_t count, uint64_t seed);

}  // namespace quantd::testing
