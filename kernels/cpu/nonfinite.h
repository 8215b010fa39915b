// Strips with NaN or infinity inside: rare, so plain loops.
#pragma once

#include <span>
#include <vector>

#include "kernels/backend/backend.h"
#include "kernels/cpu/strip.h"

namespace quantd {

// Counts and locates what is not finite, and takes the range of what is.
void ExamineNonfinite(const Strip& strip, BatchResult& result);

// The strip's values as float32: NaN is +0, an infinity the largest finite value of the strip's type and its sign.
std::vector<float> Saturated(const Strip& strip);

// absmax of each run as the library finds it for NonfinitePolicy::kLibrary; strict arithmetic looks at finite values
// only.
void LibraryAbsmax(const Strip& strip, const Recipe& recipe, std::span<float> absmax);

}  // namespace quantd
