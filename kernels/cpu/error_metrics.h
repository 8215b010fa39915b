// Sums of the errors that quantization makes.
#pragma once

#include "kernels/backend/error_sums.h"
#include "kernels/cpu/strip.h"

namespace quantd {

// Adds the errors of a strip whose decoded values, in the same order, are `decoded`. Values that are not finite have no
// error.
void AddErrors(const Strip& strip, const float* decoded, ErrorSums& errors);

}  // namespace quantd
