#include "kernels/cuda/fused_encode.cuh"

namespace quantd {

FusedLaunch FindFusedLaunchOfLevels(Transform transform, Element element, DataType values) {
  if (transform == Transform::kMultiplyFtz) {
    return FindByFormat<ElementKind::kLevels, FusedMultiplyFtz, FusedLaunch>(AllFormats{}, element, values);
  }
  if (transform == Transform::kDivide) {
    return FindByFormat<ElementKind::kLevels, FusedDivide, FusedLaunch>(FormatList<Nf4>{}, element, values);
  }
  return nullptr;
}

}  // namespace quantd
