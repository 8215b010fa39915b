// quantctl from its arguments to its exit code.
#pragma once

#include "client/cli/environment.h"

namespace quantd::cli {

// Parses, runs the chosen command, prints its error. Never throws.
ExitCode RunCommandLine(int argc, const char* const* argv, Environment& environment);

}  // namespace quantd::cli
