#include "client/cpp/client.h"

namespace quantd {

QuantizedTensorView QuantizedTensor::View() const {
  QuantizedTensorView view{name, shape, scheme, {}};
  for (const Segment& segment : segments) {
    view.segments.push_back({segment.name, segment.dtype, segment.shape, segment.bytes});
  }
  return view;
}

}  // namespace quantd
