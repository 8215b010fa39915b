// The CPU backend: the specification in executable form, and the path for machines without a GPU.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/backend/backend.h"

namespace quantd {

// Holds no state; needs the default floating-point environment only (it sets rounding and denormal modes itself, and
// restores the caller's). On the best instruction set of this machine.
std::unique_ptr<Backend> MakeCpuBackend();

// The instruction sets that this machine has and there are kernels for, the slowest first: "scalar", "avx2", "avx512".
std::vector<std::string> CpuTargets();

// A backend on one of CpuTargets(); "auto" is the last of them. INVALID_ARGUMENT that lists them for any other name.
absl::StatusOr<std::unique_ptr<Backend>> MakeCpuBackend(std::string_view target);

// Known answers for every preset on this machine: INTERNAL with reason BACKEND_FAILED if a byte is wrong. Milliseconds.
// A server refuses to start on an error.
absl::Status SelfTest(Backend& backend);

}  // namespace quantd
