// Computes input that was never in a slot.
#pragma once

#include "absl/status/statusor.h"
#include "kernels/backend/backend.h"
#include "kernels/base/clock.h"
#include "server/session/run.h"

namespace quantd::server {

// Runs the backend over the run's units. What is pending of their input goes through memory of this call, some units at
// a time, which stays in the processor's cache: input is read once, and the way through a slot would be one to memory
// and back. Large units, and inputs of which a part is in the slot, are gathered there. Adds to run.receive_time; the
// errors are the backend's, and DATA_LOSS with reason CHECKSUM_MISMATCH.
absl::StatusOr<BatchResult> GatherAndRun(Run& run, Backend& backend, const Clock& clock);

}  // namespace quantd::server
