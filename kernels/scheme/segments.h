// The arrays that a plan reads and writes, each made in one place.
#pragma once

#include "kernels/scheme/plan.h"

namespace quantd {

// The plan's geometry, recipe and known statistics must be set; its passes are not looked at.
std::vector<Pass> MakePasses(const Plan& plan);

}  // namespace quantd
