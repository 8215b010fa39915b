// A client of the bulk methods made of nothing but generated code, as a stranger would write it: it pays no heed to
// credit, and reads while it writes.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "quantd/v1/quantization_service.grpc.pb.h"

namespace quantd::testing {

// Bytes of one segment to send, in the order of sending.
struct SegmentPart {
  std::string segment;
  uint64_t offset = 0;
  std::string bytes;
};

// How much of a segment goes into the next frame; at least 1.
using FrameSize = std::function<uint64_t()>;
inline FrameSize FramesOf(uint64_t bytes) {
  return [bytes] { return bytes; };
}

// What came back for one tensor.
struct TensorOutcome {
  uint64_t tensor_seq = 0;
  int responses = 0;
  std::optional<v1::Accept> accept;
  std::map<std::string, std::string> segments;
  std::optional<v1::Summary> summary;
  std::optional<google::rpc::Status> error;
  std::vector<uint64_t> consumed_bytes;  // of each response
  uint64_t data_bytes_max = 0;           // of one response
};

template <class Request, class Response>
class BulkStream {
 public:
  using Method = std::unique_ptr<grpc::ClientReaderWriter<Request, Response>> (v1::QuantizationService::Stub::*)(
      grpc::ClientContext*);

  BulkStream(std::shared_ptr<grpc::Channel> channel, Method method, absl::Duration timeout)
      : stub_(v1::QuantizationService::NewStub(std::move(channel))) {
    context_.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
    stream_ = ((*stub_).*method)(&context_);
  }
  ~BulkStream() {
    context_.TryCancel();
    if (writer_.joinable()) writer_.join();
    if (!finished_) stream_->Finish();
  }

  grpc::ClientContext& context() { return context_; }

  bool Write(const Request& request) { return stream_->Write(request); }
  bool Read(Response& response) { return stream_->Read(&response); }
  void WritesDone() { stream_->WritesDone(); }
  grpc::Status Finish() {
    if (writer_.joinable()) writer_.join();
    finished_ = true;
    return stream_->Finish();
  }

  // Sends one tensor: header, then the parts in frames of `frame_size`, `last` in the final one.
  void SendTensor(const v1::TensorHeader& header, const std::vector<SegmentPart>& parts, const FrameSize& frame_size) {
    Request request;
    request.set_tensor_seq(++tensor_seq_);
    *request.mutable_header() = header;
    for (size_t i = 0; i < parts.size(); ++i) {
      const SegmentPart& part = parts[i];
      for (uint64_t sent = 0; sent < part.bytes.size();) {
        const std::string data = part.bytes.substr(sent, frame_size());
        v1::Piece& piece = *request.add_pieces();
        piece.set_segment(part.segment);
        piece.set_offset(part.offset + sent);
        piece.set_length(static_cast<uint32_t>(data.size()));
        sent += data.size();
        request.set_data(data);
        if (i + 1 == parts.size() && sent == part.bytes.size()) request.set_last(true);
        if (!Write(request)) return;
        if (request.last()) return;
        request = Request();
        request.set_tensor_seq(tensor_seq_);
      }
    }
    request.set_last(true);  // nothing to send
    Write(request);
  }

  // The responses of the next tensor, up to its summary or error, or as many as came before the stream's end.
  TensorOutcome ReadTensor() {
    TensorOutcome outcome;
    Response response;
    while (!outcome.summary.has_value() && !outcome.error.has_value() && Read(response)) {
      ++outcome.responses;
      outcome.tensor_seq = response.tensor_seq();
      if (response.has_accept()) outcome.accept = response.accept();
      uint64_t position = 0;
      for (const v1::Piece& piece : response.pieces()) {
        std::string& segment = outcome.segments[piece.segment()];
        segment += response.data().substr(position, piece.length());
        position += piece.length();
      }
      outcome.data_bytes_max = std::max<uint64_t>(outcome.data_bytes_max, response.data().size());
      outcome.consumed_bytes.push_back(response.consumed_bytes());
      if (response.has_summary()) outcome.summary = response.summary();
      if (response.has_error()) outcome.error = response.error();
    }
    return outcome;
  }

  // Both at once.
  TensorOutcome Exchange(const v1::TensorHeader& header, const std::vector<SegmentPart>& parts,
                         const FrameSize& frame_size = FramesOf(1 << 20)) {
    if (writer_.joinable()) writer_.join();
    writer_ = std::thread([this, header, parts, frame_size] { SendTensor(header, parts, frame_size); });
    TensorOutcome outcome = ReadTensor();
    writer_.join();
    return outcome;
  }

 private:
  grpc::ClientContext context_;
  const std::unique_ptr<v1::QuantizationService::Stub> stub_;
  std::unique_ptr<grpc::ClientReaderWriter<Request, Response>> stream_;
  std::thread writer_;
  uint64_t tensor_seq_ = 0;
  bool finished_ = false;
};

class QuantizeStream : public BulkStream<v1::QuantizeRequest, v1::QuantizeResponse> {
 public:
  explicit QuantizeStream(std::shared_ptr<grpc::Channel> channel, absl::Duration timeout = absl::Minutes(2))
      : BulkStream(std::move(channel), static_cast<Method>(&v1::QuantizationService::Stub::Quantize), timeout) {}
};

class DequantizeStream : public BulkStream<v1::DequantizeRequest, v1::DequantizeResponse> {
 public:
  explicit DequantizeStream(std::shared_ptr<grpc::Channel> channel, absl::Duration timeout = absl::Minutes(2))
      : BulkStream(std::move(channel), static_cast<Method>(&v1::QuantizationService::Stub::Dequantize), timeout) {}
};

class CalibrateStream : public BulkStream<v1::CalibrateRequest, v1::CalibrateResponse> {
 public:
  explicit CalibrateStream(std::shared_ptr<grpc::Channel> channel, absl::Duration timeout = absl::Minutes(2))
      : BulkStream(std::move(channel), static_cast<Method>(&v1::QuantizationService::Stub::Calibrate), timeout) {}
};

// A header of preset, type and shape.
inline v1::TensorHeader HeaderOf(const std::string& preset, v1::DataType dtype, const std::vector<uint64_t>& shape,
                                 const std::map<std::string, std::string>& overrides = {}) {
  v1::TensorHeader header;
  header.set_dtype(dtype);
  header.mutable_shape()->Assign(shape.begin(), shape.end());
  header.mutable_scheme()->set_preset(preset);
  header.mutable_scheme()->mutable_overrides()->insert(overrides.begin(), overrides.end());
  return header;
}

}  // namespace quantd::testing
