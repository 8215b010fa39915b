// Every scheme, slowly: the formulas of the libraries and of docs/formats.md, one value at a time. It shares no code
// and no table with kernels/, so that a mistake there is not repeated here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kernels/base/data_type.h"

namespace quantd::testing {

using Bytes = std::vector<std::byte>;

// Statistics of the whole tensor that the caller gives; what is missing is computed from the values.
struct ReferenceStatistics {
  std::optional<float> offset;
  std::optional<float> amax;
  std::optional<float> min;
  std::optional<float> max;
  std::optional<float> global_scale;
};

// One for each channel of the last axis, or none.
struct ReferenceChannels {
  std::vector<float> smoothing_factors;
  std::vector<float> importance;
};

// Every output segment by name. `scheme`: every override of the resolved scheme by name. With nonfinite=reject NaN and
// infinities count as with saturate.
std::map<std::string, Bytes> ReferenceQuantize(const std::map<std::string, std::string>& scheme, DataType dtype,
                                               const std::vector<uint64_t>& shape, const Bytes& values,
                                               const ReferenceStatistics& known = {},
                                               const ReferenceChannels& channels = {});

// The values in `dtype`. Segments that only describe (weight_shape) may be missing.
Bytes ReferenceDequantize(const std::map<std::string, std::string>& scheme, DataType dtype,
                          const std::vector<uint64_t>& shape, const std::map<std::string, Bytes>& segments);

}  // namespace quantd::testing
