// The backends of this machine, by name.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/backend/backend.h"

namespace quantd::testing {

// CpuTargets(), and where it was built and there is a GPU "cuda", "cuda_generic", which has no fused kernels, and
// "cuda_together", which has every batch in pieces that it computes together.
std::vector<std::string> BackendNames();

// One of them.
std::unique_ptr<Backend> MakeBackend(const std::string& name);

}  // namespace quantd::testing
