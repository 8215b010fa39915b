// The CPU backend: the specification in executable form, and the path for machines without a GPU.
#pragma once

#include <memory>
#include <string_view>

#include "kernels/backend/backend.h"

namespace quantd {

// Holds no state; needs the default floating-point environment only (it sets rounding and denormal modes itself, and
// restores the caller's).
std::unique_ptr<Backend> MakeCpuBackend();

// Instruction set of the kernels that MakeCpuBackend uses on this machine: "scalar", "avx2" or "avx512".
std::string_view CpuTarget();

// Known answers for every preset on this machine: INTERNAL with reason BACKEND_FAILED if a byte is wrong. Milliseconds.
// A server refuses to start on an error.
absl::Status SelfTest(Backend& backend);

}  // namespace quantd
