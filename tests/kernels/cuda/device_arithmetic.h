// What the device's shorter divisions get wrong, by trying all there is: nothing.
#pragma once

#include <cstdint>

namespace quantd::testing {

// Of all float32 from 2^-80 to 2^100.
uint64_t WrongReciprocals();

// Of all float32 from `smallest`, above 0, to `largest`, divided by what a launch knows.
uint64_t WrongQuotients(float divisor, float smallest, float largest);

}  // namespace quantd::testing
