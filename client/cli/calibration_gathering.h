// From tensors to statistics, through a calibration session of a server.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/common_options.h"
#include "client/cli/environment.h"
#include "client/cli/tensor_selection.h"
#include "client/cpp/client.h"
#include "kernels/calibrate/calibration_file.h"

namespace quantd::cli {

struct GatheringSession {
  std::string id;               // empty: one of its own, which is deleted in the end
  std::string contribution_id;  // of the whole; each file's is made of it
  std::map<std::string, std::string> configuration;
  uint32_t expected_contributions = 0;
  bool wants_result = true;  // else the session is left as it is
};

struct Gathered {
  uint64_t tensors = 0;
  uint64_t repeated = 0;  // that had been counted before
  uint64_t bytes = 0;
  std::optional<Calibration> result;
};

// Errors carry their exit code and name file or tensor.
absl::StatusOr<Gathered> GatherFiles(const std::vector<std::string>& paths, const SelectionArguments& selection,
                                     const GatheringSession& session, const CallArguments& call,
                                     Environment& environment);
absl::StatusOr<Gathered> GatherTensor(const TensorView& tensor, const GatheringSession& session,
                                      const CallArguments& call, Environment& environment);

}  // namespace quantd::cli
