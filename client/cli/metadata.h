// What a safetensors file says of the tensors in it that are quantized: JSON under the metadata key "quantd".
//
//   {"version":1,"tensors":{"w":{"scheme":{"preset":"bnb-nf4","overrides":{"block_size":"64",...},"format_revision":1},
//                                "dtype":"float32","shape":[384,384]}}}
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/base/data_type.h"
#include "kernels/scheme/scheme.h"

namespace quantd::cli {

inline constexpr char kMetadataKey[] = "quantd";

struct ConvertedTensor {
  SchemeRequest scheme;  // fully resolved
  DataType dtype{};      // of the values before
  std::vector<uint64_t> shape;
};

// By name. The segments of tensor T are the file's tensors T.codes, T.scales, ...
using ConvertedTensors = std::map<std::string, ConvertedTensor>;

std::string FormatMetadata(const ConvertedTensors& tensors);

// INVALID_ARGUMENT: not such JSON, or of a version that this program does not know.
absl::StatusOr<ConvertedTensors> ParseMetadata(const std::string& json);

// The converted tensors of a file with this metadata; none without the key.
absl::StatusOr<ConvertedTensors> ConvertedTensorsOf(const std::map<std::string, std::string>& file_metadata);

// "w", "codes" → "w.codes".
std::string SegmentTensorName(const std::string& tensor, const std::string& segment);

}  // namespace quantd::cli
