#include "kernels/cuda/encode_kernels.cuh"

namespace quantd {

EncodeLaunch FindEncodeLaunchOfIntegers(Transform transform, Element element, DataType values) {
  if (transform == Transform::kDivide) {
    return FindByFormat<ElementKind::kInteger, DivideLauncher, EncodeLaunch>(AllFormats{}, element, values);
  }
  if (transform == Transform::kDivideAddZero) {
    return FindByFormat<ElementKind::kInteger, DivideAddZeroLauncher, EncodeLaunch>(AllFormats{}, element, values);
  }
  if (transform == Transform::kMultiplyFtz && element == Element::kInt8) {
    return FindByFormat<ElementKind::kInteger, MultiplyFtzLauncher, EncodeLaunch>(FormatList<Int8>{}, element, values);
  }
  return nullptr;
}

}  // namespace quantd
