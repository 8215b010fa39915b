// A CPU that plays a GPU, with the faults of one.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/worker/worker_device.h"

namespace quantd::testing {

// What goes wrong, and with which run (from 1) it begins; the self-test's runs do not count.
enum class Fault {
  kNone,
  kRefuse,        // Open fails
  kNoMemory,      // Open finds the memory taken
  kNoBudget,      // Open finds that its budget is too small
  kWrong,         // computes wrong bytes, always
  kWrongAfter,    // computes wrong bytes from that run on
  kCrash,         // the process ends
  kHang,          // a run that never ends
  kSticky,        // every run fails as after a CUDA error
  kOutOfMemory,   // every run
  kTightMemory,   // every run until Trim
  kSlowToCancel,  // a run that ends when it is cancelled
  kScribble,      // a run that writes to its input, and ends the process
};

struct FaultPlan {
  Fault fault = Fault::kNone;
  int from_run = 1;
};

// "none", "crash:3": the names are those of Fault in small letters with hyphens.
absl::StatusOr<FaultPlan> ParseFault(std::string_view text);

std::unique_ptr<server::WorkerDevice> MakeFakeDevice(const FaultPlan& plan);

}  // namespace quantd::testing
