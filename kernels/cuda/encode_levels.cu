#include "kernels/cuda/encode_kernels.cuh"

namespace quantd {

EncodeLaunch FindEncodeLaunchOfLevels(Transform transform, Element element, DataType values) {
  if (transform == Transform::kMultiplyFtz) {
    return FindByFormat<ElementKind::kLevels, MultiplyFtzLauncher, EncodeLaunch>(AllFormats{}, element, values);
  }
  if (transform == Transform::kDivide) {
    return FindByFormat<ElementKind::kLevels, DivideLauncher, EncodeLaunch>(AllFormats{}, element, values);
  }
  return nullptr;
}

}  // namespace quantd
