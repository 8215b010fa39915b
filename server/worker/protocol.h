// What quantd and a GPU worker say to each other: one message in each packet of a SOCK_SEQPACKET socket. The tensors
// themselves lie in the slots, which both have mapped.
//
//   quantd: Start ──▶ ··· OpenPlan, Run, Cancel, Probe, Trim ··· Shutdown
//   worker:        Ready | Failed   ··· Result (of each Run and Probe)
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/backend/backend.h"
#include "kernels/scheme/plan.h"
#include "kernels/scheme/scheme.h"

namespace quantd::server {

// Both sides must be of the same version: they are installed together.
inline constexpr uint16_t kWorkerProtocolVersion = 2;
inline constexpr size_t kWorkerMessageBytesMax = 16 << 10;
inline constexpr size_t kWorkerTextBytesMax = 512;
inline constexpr size_t kWorkerOverridesMax = 64;
// Bytes of all whole-tensor inputs of one run: a few scales and offsets.
inline constexpr size_t kWorkerInlineBytesMax = 4 << 10;
inline constexpr uint32_t kWorkerPlanSlots = 64;
inline constexpr uint32_t kWorkerUnitsInFlightMax = 64;
// Batches that a worker has at most for each that it computes at once: what waits there is computed together.
inline constexpr uint32_t kWorkerBatchesPerUnit = 4;
// Where a segment has no place in the slots.
inline constexpr uint64_t kNoOffset = UINT64_MAX;

// The first message; carries the descriptor of the slots' memory.
struct StartMessage {
  uint64_t slot_bytes = 0;
  uint32_t slots = 0;
  uint32_t units_in_flight = 0;      // 1 to kWorkerUnitsInFlightMax
  uint64_t memory_budget_bytes = 0;  // of the device, the context included
  std::string device;                // its UUID, if it has one; the environment says which device the worker sees
};

// The device has passed the self-test.
struct ReadyMessage {
  std::string target;            // "sm_90"
  uint32_t units_in_flight = 0;  // as many as the budget allows, at most what Start asked for
};

// The worker cannot serve, and ends.
struct FailedMessage {
  absl::StatusCode code{};
  std::string message;
};

// What MakePlan made the plan from. Replaces what was in the slot before; runs under way keep theirs.
struct OpenPlanMessage {
  uint32_t plan_slot = 0;  // below kWorkerPlanSlots
  SchemeRequest scheme;    // fully resolved
  Direction direction{};
  DataType values_dtype{};
  std::vector<uint64_t> shape;
  KnownStatistics known;
};

// A UnitBatch, its pointers as offsets into the slots.
struct RunMessage {
  uint64_t id = 0;
  uint32_t plan_slot = 0;
  uint32_t pass = 0;
  uint64_t begin_unit = 0;
  uint64_t end_unit = 0;
  TensorParameters parameters;
  std::array<uint64_t, kSegmentsMax> inputs{};   // kNoOffset: of the whole tensor, or there is none
  std::array<uint64_t, kSegmentsMax> outputs{};  // the same
  std::vector<std::byte> whole_tensor_inputs;    // one after another
};

// Of the Run or Probe with that id. OK, CANCELLED, RESOURCE_EXHAUSTED where the device's memory did not suffice;
// anything else means that the device must not be trusted any more. Never has error sums.
struct ResultMessage {
  uint64_t id = 0;
  absl::StatusCode code{};
  std::string message;
  BatchResult result;
};

struct CancelMessage {
  uint64_t id = 0;
};

// Compute the known answers once more.
struct ProbeMessage {
  uint64_t id = 0;
};

// Give back memory of the device that no run needs now.
struct TrimMessage {};

// Finish what is under way and end.
struct ShutdownMessage {};

using WorkerMessage = std::variant<StartMessage, ReadyMessage, FailedMessage, OpenPlanMessage, RunMessage,
                                   ResultMessage, CancelMessage, ProbeMessage, TrimMessage, ShutdownMessage>;

// Texts beyond kWorkerTextBytesMax are cut. Equal messages are equal bytes.
std::vector<std::byte> EncodeWorkerMessage(WorkerMessage message);

// INVALID_ARGUMENT for anything that EncodeWorkerMessage does not make: every length, enumerator and flag is checked,
// and there must be nothing after the last field.
absl::StatusOr<WorkerMessage> DecodeWorkerMessage(std::span<const std::byte> bytes);

}  // namespace quantd::server
