// How quantctl ends. docs and --help list these numbers; scripts rely on them.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace quantd::cli {

enum class ExitCode : int {
  kOk = 0,
  kDiffers = 1,       // compare: the files do not hold the same tensors
  kUsage = 2,         // the command line, a parameter file or a scheme cannot be used as given
  kFile = 3,          // a file cannot be read or written, or is malformed
  kServer = 4,        // the server refused, failed or cannot be reached
  kInterrupted = 130  // Ctrl-C or SIGTERM
};

// The table above, for --help.
inline constexpr char kExitCodeHelp[] =
    "Exit codes: 0 done; 1 compare: the files differ; 2 usage; 3 file cannot be read or written;\n"
    "4 server refused, failed or out of reach; 130 interrupted.";

// `status` with the code to exit with, unless it has one already or is OK.
absl::Status WithExitCode(absl::Status status, ExitCode code);

// The code that WithExitCode gave; kServer for any other error, kOk for none.
ExitCode ExitCodeOf(const absl::Status& status);

// INVALID_ARGUMENT with kUsage.
absl::Status UsageError(const std::string& message);

}  // namespace quantd::cli
