#include "kernels/cpu/cpu_backend.h"

#include <cassert>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/base/status_macros.h"
#include "kernels/cpu/dequantize_batch.h"
#include "kernels/cpu/float_environment.h"
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/quantize_batch.h"

namespace quantd {
namespace {

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(const KernelTable& kernels) : kernels_(kernels) {}

  std::string_view name() const override { return "cpu"; }
  std::string_view target() const override { return kernels_.target; }

  absl::StatusOr<BatchResult> Run(const Plan& plan, const UnitBatch& batch,
                                  const std::atomic<bool>& cancelled) override {
    assert(batch.pass < plan.passes.size() && batch.begin_unit <= batch.end_unit &&
           batch.end_unit <= plan.unit_count());
    const ScopedFloatEnvironment environment;
    if (plan.direction == Direction::kQuantize) return QuantizeBatch(kernels_, plan, batch, cancelled);
    QUANTD_RETURN_IF_ERROR(DequantizeBatch(kernels_, plan, batch, cancelled));
    return BatchResult{};
  }

 private:
  const KernelTable& kernels_;
};

}  // namespace

std::unique_ptr<Backend> MakeCpuBackend() { return MakeCpuBackend(BestKernels()); }

std::unique_ptr<Backend> MakeCpuBackend(const KernelTable& kernels) { return std::make_unique<CpuBackend>(kernels); }

std::vector<std::string> CpuTargets() {
  std::vector<std::string> targets;
  for (const KernelTable* const kernels : SupportedKernels()) targets.emplace_back(kernels->target);
  return targets;
}

absl::StatusOr<std::unique_ptr<Backend>> MakeCpuBackend(std::string_view target) {
  if (target == "auto") return MakeCpuBackend();
  for (const KernelTable* const kernels : SupportedKernels()) {
    if (kernels->target == target) return MakeCpuBackend(*kernels);
  }
  return absl::InvalidArgumentError(absl::StrCat("this processor has no CPU target '", std::string(target),
                                                 "'; possible: auto, ", absl::StrJoin(CpuTargets(), ", ")));
}

}  // namespace quantd
