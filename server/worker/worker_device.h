// A device as the worker's loop sees it: a GPU, or in tests a CPU that plays one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "kernels/backend/backend.h"
#include "server/worker/protocol.h"

namespace quantd::server {

class WorkerDevice {
 public:
  virtual ~WorkerDevice() = default;

  // Once, before all else: takes the device and makes `slots` fit for its copies; they outlive the device. How many
  // batches it can run at once within the budget: 1 to `start.units_in_flight`. RESOURCE_EXHAUSTED if it is none
  // as long as others have the device's memory, FAILED_PRECONDITION if it is none whatever they do.
  virtual absl::StatusOr<uint32_t> Open(const StartMessage& start, std::span<std::byte> slots) = 0;

  // Of inputs and outputs of batches that are computed together; one that has more is computed alone. After Open.
  virtual uint64_t together_bytes_max() const = 0;

  // What computes now. Its memory on the device lives as long as the last reference.
  virtual std::shared_ptr<Backend> backend() = 0;

  // From now on another backend, with no memory yet. Safe beside runs, which keep theirs.
  virtual void Trim() = 0;
};

}  // namespace quantd::server
