#include "kernels/cuda/encode_kernels.cuh"

namespace quantd {

EncodeLaunch FindEncodeLaunchOfMiniFloats(Transform transform, Element element, DataType values) {
  if (transform == Transform::kMultiply) {
    return FindByFormat<ElementKind::kMiniFloat, MultiplyLauncher, EncodeLaunch>(AllFormats{}, element, values);
  }
  if (transform == Transform::kDivide) {
    return FindByFormat<ElementKind::kMiniFloat, DivideLauncher, EncodeLaunch>(AllFormats{}, element, values);
  }
  return nullptr;
}

EncodeLaunch FindEncodeLaunchOfCasts(Transform transform, Element element, DataType values) {
  if (transform != Transform::kMultiply) return nullptr;
  return FindByFormat<ElementKind::kCast, MultiplyLauncher, EncodeLaunch>(AllFormats{}, element, values);
}

}  // namespace quantd
