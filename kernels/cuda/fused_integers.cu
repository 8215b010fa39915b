#include "kernels/cuda/fused_encode.cuh"

namespace quantd {

FusedLaunch FindFusedLaunchOfIntegers(Transform transform, Element element, DataType values) {
  using WholeBytes = FormatList<Int4, Int8>;
  if (transform == Transform::kDivide) {
    return FindByFormat<ElementKind::kInteger, FusedDivide, FusedLaunch>(WholeBytes{}, element, values);
  }
  if (transform == Transform::kDivideAddZero) {
    return FindByFormat<ElementKind::kInteger, FusedDivideAddZero, FusedLaunch>(WholeBytes{}, element, values);
  }
  if (transform == Transform::kMultiplyFtz) {
    return FindByFormat<ElementKind::kInteger, FusedMultiplyFtz, FusedLaunch>(FormatList<Int8>{}, element, values);
  }
  return nullptr;
}

}  // namespace quantd
