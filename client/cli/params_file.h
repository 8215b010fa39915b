// PARAMS.json: statistics that the caller already knows, by tensor: {"layer.weight": {"offset": 0.0123}}.
#pragma once

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/scheme/plan.h"

namespace quantd::cli {

inline constexpr uint64_t kParamsFileBytesMax = 64u << 20;

using TensorParams = std::map<std::string, KnownStatistics>;

// A usage error that names what is not JSON, an unknown key, a value that is no finite float32, or anything twice.
absl::StatusOr<TensorParams> ParseParams(const std::string& json);

// The same from a file; kFile where it cannot be read.
absl::StatusOr<TensorParams> ReadParamsFile(const std::string& path);

}  // namespace quantd::cli
