// One tensor on its way through a stream, whatever is done to it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/session/frame.h"
#include "server/session/frame_cursor.h"
#include "server/session/region_allocator.h"
#include "server/session/run.h"

namespace quantd::server {

// A state machine without threads, locks or I/O:
//
//   Take ──▶ (RegionBytesNeeded ▶ GiveRegion) ──▶ NextRun ──▶ [Compute elsewhere] ──▶ GiveBack ──▶ TakeResults ──▶ done
//
// The owner serializes all calls. After any error the job is failed for good: Cancel it and give no more.
class StreamJob {
 public:
  virtual ~StreamJob() = default;

  virtual std::shared_ptr<const SharedAccept> Accept() const = 0;
  virtual Priority priority() const = 0;
  virtual DevicePolicy device_policy() const = 0;
  // Credit without which the client could not complete a unit: what may come before a batch's first unit is whole.
  virtual uint64_t window_bytes_min() const = 0;
  // Of all inputs, and of all outputs, of this job.
  virtual uint64_t input_bytes() const = 0;
  virtual uint64_t output_bytes() const = 0;

  // Takes the rest of the frame's pieces, or as much as there is memory for. INVALID_ARGUMENT or DATA_LOSS with the
  // reasons of quantd.v1.Piece, and INCOMPLETE_TENSOR if this is the last frame and bytes are missing. What a large
  // piece says of its CRC32C may only be looked at by the run that has its first byte.
  virtual absl::Status Take(FrameCursor& cursor) = 0;

  // False: enough of the input waits for what is being computed, and lies in frames until then.
  virtual bool has_room_for_input() const { return true; }

  // Not 0: nothing goes on until GiveRegion gets a region of that many bytes.
  virtual uint64_t RegionBytesNeeded() const = 0;
  virtual void GiveRegion(Region region) = 0;

  // The next units that can be computed, with everything set but `ready_at`; null if there are none. Each must come
  // back through GiveBack.
  virtual std::shared_ptr<Run> NextRun() = 0;
  // The run is computed.
  virtual void GiveBack(Run& run) = 0;

  // Results that are next in the tensor's order, and how far the input has been consumed; empty if there are none. The
  // last ones are followed by done(). The error is the first failed run's, or what makes the whole tensor fail.
  virtual absl::StatusOr<std::vector<OutputPiece>> TakeResults() = 0;
  virtual uint64_t consumed_bytes() const = 0;
  // A job for the range from here to the end makes what TakeResults has not given out: all of it, where a second pass
  // would need the first.
  virtual uint64_t resume_element() const = 0;

  // Everything has been taken and given out.
  virtual bool done() const = 0;
  // Nothing is being computed or waits for that: if the tensor is not done, the client has to send.
  virtual bool idle() const = 0;
  // Nothing in the way of the stream's next tensor: this one will ask for no more memory.
  virtual bool needs_no_more_memory() const = 0;

  // Runs under way stop within one unit; TakeResults has no meaning any more.
  virtual void Cancel() = 0;
  // Cancels because the stream is lost: what another stream can go on with is kept, also of a job that is done.
  virtual void Suspend() { Cancel(); }
  // Of what Suspend keeps; empty: nothing.
  virtual std::string upload_id() const { return ""; }
  // Another stream waits for that.
  virtual bool superseded() const { return false; }

  // Final when done. total_time is the owner's to set. `device` names what computed; empty if nothing had to be.
  virtual SummaryInfo Summary() const = 0;
};

}  // namespace quantd::server
