// Which tensors of a file are converted.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/metadata.h"
#include "server/conversion/safetensors_header.h"

namespace quantd::cli {

struct SelectionArguments {
  std::string include;    // RE2 syntax, found anywhere in the name; empty: all names
  uint64_t rank_min = 0;  // extents that a tensor has at least
};

// Float32, float16 and bfloat16 tensors that fit `arguments`, except segments of `converted`, in the order of
// `tensors`. A usage error for a bad expression and for an empty result. The entries must outlive the result.
absl::StatusOr<std::vector<const server::SafetensorsEntry*>> SelectTensors(
    const std::vector<server::SafetensorsEntry>& tensors, const ConvertedTensors& converted,
    const SelectionArguments& arguments);

}  // namespace quantd::cli
