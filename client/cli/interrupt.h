// Ctrl-C, SIGTERM and files that shrink under their mapping, turned into a cancelled token, so that the program cleans
// up after itself.
#pragma once

#include "client/cli/environment.h"

namespace quantd::cli {

// From now on SIGINT and SIGTERM cancel `token`; the same signal again ends the program at once. SIGBUS from a mapped
// file puts a page of zeros where the bytes were and cancels `token`: what was read since is worthless. SIGPIPE is
// ignored. `token` must live as long as the program. Once in a program.
void CancelOnSignals(CancelToken& token);

// The first one that came. Safe from any thread.
Interruption FirstInterruption();

}  // namespace quantd::cli
