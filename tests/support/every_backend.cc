#include "tests/support/every_backend.h"

#include "kernels/cpu/cpu_backend.h"
#if QUANTD_HAS_CUDA
#include "kernels/cuda/cuda_backend.h"
#include "tests/support/pieces_backend.h"
#endif

namespace quantd::testing {

std::vector<std::string> BackendNames() {
  std::vector<std::string> names = CpuTargets();
#if QUANTD_HAS_CUDA
  if (CudaDeviceCount() > 0) names.insert(names.end(), {"cuda", "cuda_generic", "cuda_together"});
#endif
  return names;
}

std::unique_ptr<Backend> MakeBackend(const std::string& name) {
#if QUANTD_HAS_CUDA
  if (name == "cuda") return MakeCudaBackend(0, MakeCpuBackend()).value();
  if (name == "cuda_generic") return MakeCudaBackend(0, MakeCpuBackend(), {.kernels = CudaKernels::kGeneric}).value();
  constexpr uint64_t kPiecesMax = 20;  // more than a launch has
  if (name == "cuda_together") return MakePiecesBackend(MakeCudaBackend(0, MakeCpuBackend()).value(), kPiecesMax);
#endif
  return MakeCpuBackend(std::string_view(name)).value();
}

}  // namespace quantd::testing
