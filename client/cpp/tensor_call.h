// One tensor on one stream, as a state machine: what goes out next, and what the answers mean. Does no I/O.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/cpp/accept_cache.h"
#include "client/cpp/client.h"
#include "client/cpp/grpc_status.h"
#include "client/cpp/outgoing_frame.h"
#include "client/cpp/send_order.h"
#include "proto/codec/frame_codec.h"

namespace quantd {

// What a stream takes before it has been accepted.
inline constexpr uint64_t kInitialWindowBytes = 256u << 10;

// What is to be done. Everything it points to must outlive the calls made from it.
struct TensorTask {
  struct Input {
    std::string name;
    wire::ByteSpan bytes;
    std::shared_ptr<const void> owner;  // of the bytes, which are then sent from where they lie; none: of a copy
  };
  v1::TensorHeader header;                  // with a range: of that part only
  std::vector<Input> inputs;                // of the whole tensor; in the order in which they may be sent before Accept
  uint64_t window_before_accept_bytes = 0;  // 0 for a dequantization with a range, which does not know its parts
  uint32_t frame_data_bytes = 1u << 20;
  // Dequantize: what must come back; nothing for Quantize, whose outputs the server names.
  std::optional<uint64_t> values_bytes;
  std::string server_instance;  // the only server that may do it; empty: any
};

class TensorCall {
 public:
  // `task` must outlive this object. `seq` is the tensor's number in its stream, from 1.
  explicit TensorCall(const TensorTask& task, uint64_t seq = 1);

  // True if NextFrame would give a frame now.
  bool CanSend() const;
  // The next frame, if header and credit allow one; the one with `last` is the last. After an error of the server's
  // the only frame is an empty one with `last`. Its payload is the task's inputs.
  std::optional<OutgoingFrame> NextFrame();

  // Takes a response, whose accept, if it has one, is not among the fields. Checks offsets, sizes and checksums before
  // `sink` gets the bytes. Errors: the server's own for this tensor (see server_error), INTERNAL where it broke the
  // protocol, DATA_LOSS where a checksum does not fit, INVALID_ARGUMENT where the inputs are not those that the server
  // needs, and what `sink` returns.
  absl::Status Receive(const ResponseFields& fields, const KnownAccept* accept, std::span<const wire::ByteSpan> data,
                       SegmentSink& sink);

  // Set once the tensor is complete.
  const std::optional<Summary>& summary() const { return summary_; }
  // Set if the server failed the tensor in band.
  const std::optional<RemoteError>& server_error() const { return server_error_; }
  bool accepted() const { return accepted_; }
  // Who accepted; empty before.
  const std::string& server_instance() const { return server_instance_; }
  bool last_sent() const { return last_sent_; }
  // What a new stream says to go on with this tensor on the same server, less what has been received. Nothing before
  // Accept, and where the server keeps nothing.
  const std::optional<v1::Upload>& upload() const { return upload_; }
  // Where the first input begins, in its bytes: of the whole tensor, or where a range or a resumed upload goes on.
  uint64_t begin_bytes() const { return parts_.empty() ? 0 : parts_.front().begin; }
  uint64_t consumed_bytes() const { return consumed_bytes_; }
  uint64_t total_bytes() const { return total_bytes_; }
  // The first element of the whole tensor whose results are not all there, at most that of the last unit: where
  // another job would go on. Nothing before Accept.
  std::optional<uint64_t> resume_element() const;

 private:
  // Bytes [begin, end) of a whole tensor's segment.
  struct Part {
    uint64_t begin = 0;
    uint64_t end = 0;
    uint64_t bytes() const { return end - begin; }
  };
  struct Output {
    std::string name;
    Part part;
    uint64_t unit_bytes = 0;
    uint64_t received = 0;
    uint32_t crc = 0;
  };

  uint64_t Credit() const;
  bool HasCreditForAFrame() const;
  void AddPiece(const Run& run, OutgoingFrame& frame) const;
  absl::Status TakeAccept(const KnownAccept& known, SegmentSink& sink);
  absl::Status MatchInputs(const v1::Accept& accept);
  absl::Status MatchInput(const v1::Accept& accept, const v1::Segment& segment, std::vector<SegmentOrder>& order);
  void SetParts(std::vector<Part> parts);
  absl::Status MatchOutputs(const KnownAccept& known, SegmentSink& sink);
  absl::Status TakePiece(const v1::Piece& piece, std::span<const wire::ByteSpan> parts, SegmentSink& sink);
  absl::Status TakeSummary(const v1::Summary& summary);
  bool is_part() const { return task_.header.has_range() || task_.header.upload().resume(); }
  bool checksums() const { return task_.header.checksum_kind() == v1::CHECKSUM_KIND_CRC32C; }

  const TensorTask& task_;
  const uint64_t seq_;
  std::vector<Part> parts_;  // of task_.inputs
  SendOrder order_;          // in bytes from the parts' begin
  uint64_t total_bytes_ = 0;
  uint64_t sent_bytes_ = 0;
  uint64_t consumed_bytes_ = 0;
  uint64_t window_bytes_;
  // In flight, this much makes the server go on, so that credit will come; unknown before Accept.
  uint64_t progress_bytes_ = UINT64_MAX;
  uint32_t frame_data_bytes_;
  bool header_sent_ = false;
  bool last_sent_ = false;
  bool accepted_ = false;
  std::string server_instance_;
  uint64_t unit_elements_ = 0;
  std::optional<v1::Upload> upload_;
  std::vector<Output> outputs_;
  std::optional<Summary> summary_;
  std::optional<RemoteError> server_error_;
};

}  // namespace quantd
