#include <gtest/gtest.h>

#include "tests/exhaustive/division_check.h"

namespace quantd::testing {
namespace {

TEST(EveryTarget, DividesAsIeeeIn10MillionPairs) {
  for (const KernelTable* const kernels : SupportedKernels()) ExpectDividesAsIeee(*kernels, 10'000'000, 20261124);
}

}  // namespace
}  // namespace quantd::testing
