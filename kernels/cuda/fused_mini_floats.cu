#include "kernels/cuda/fused_encode.cuh"

namespace quantd {

FusedLaunch FindFusedLaunchOfMiniFloats(Transform transform, Element element, DataType values) {
  using MxFormats = FormatList<Fp4E2m1, Fp8E4m3, Fp8E5m2>;
  if (transform == Transform::kMultiply) {
    return FindByFormat<ElementKind::kMiniFloat, FusedMultiply, FusedLaunch>(MxFormats{}, element, values);
  }
  if (transform == Transform::kDivide) {
    return FindByFormat<ElementKind::kMiniFloat, FusedDivide, FusedLaunch>(AllFormats{}, element, values);
  }
  return nullptr;
}

}  // namespace quantd
