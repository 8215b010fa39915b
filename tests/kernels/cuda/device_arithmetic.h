// What the device's shorter divisions get wrong, by trying all there is: nothing.
#pragma once

#include <cstdint>

#include "kernels/base/data_type.h"

namespace quantd::testing {

// Of all float32 from 2^-80 to 2^100.
uint64_t WrongReciprocals();

// Of all float32 from `smallest`, above 0, to `largest`, divided by what a launch knows.
uint64_t WrongQuotients(float divisor, float smallest, float largest);

// Codes of all 16-bit values of `values` by all scales of `scale`, 16-bit too, with zero points of int4 or int8.
uint64_t WrongZeroPointCodes(DataType values, DataType scale, int bits);

}  // namespace quantd::testing
