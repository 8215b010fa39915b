// A server's side of one tensor, for a toy scheme that any test can compute: no compression to speak of, but units,
// batches, credit and several segments.
//
// Units are 64 float32 elements. "codes" has the lowest byte of every element, flipped; "scales" the upper three bytes
// of a unit's first element and a zero; "offset" is four bytes for the whole tensor. ToyValues() survive the round
// trip.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/base/crc32c.h"
#include "quantd/v1/quantization_service.pb.h"

namespace quantd::toy {

inline constexpr uint64_t kUnitElements = 64;
inline constexpr char kOffsetBytes[] = "zero";

inline uint32_t CrcOf(const std::string& bytes) { return ExtendCrc32c(0, std::as_bytes(std::span(bytes))); }

inline std::string ToyValues(uint64_t elements) {
  std::mt19937 random(7);
  std::string values;
  std::string upper;
  for (uint64_t i = 0; i < elements; ++i) {
    if (i % kUnitElements == 0) upper = {static_cast<char>(random()), static_cast<char>(random()), 'x'};
    values += static_cast<char>(random());
    values += upper;
  }
  return values;
}

inline std::map<std::string, std::string> Quantized(const std::string& values) {
  std::map<std::string, std::string> segments = {{"codes", ""}, {"scales", ""}, {"offset", kOffsetBytes}};
  for (size_t i = 0; i < values.size() / 4; ++i) {
    segments["codes"] += static_cast<char>(~values[4 * i]);
    if (i % kUnitElements == 0) segments["scales"] += values.substr(4 * i + 1, 3) + '\0';
  }
  return segments;
}

class ToyPeer {
 public:
  struct Settings {
    bool quantize = true;
    uint64_t window_bytes = 64u << 10;
    uint32_t frame_data_bytes_max = 1u << 20;
    uint64_t batch_units = 4;
    uint32_t response_data_bytes = 1000;
  };
  explicit ToyPeer(Settings settings) : settings_(settings) {}

  // Answers to a request, in order. Fails the test if the request breaks the protocol.
  std::vector<v1::QuantizeResponse> Take(const v1::QuantizeRequest& request) {
    responses_.clear();
    ++requests_;
    EXPECT_FALSE(complete_) << "a frame after the last";
    EXPECT_EQ(request.tensor_seq(), 1u);
    EXPECT_EQ(request.has_header(), requests_ == 1);
    EXPECT_LE(request.pieces_size(), 64);
    if (requests_ == 1) Begin(request.header());
    EXPECT_LE(request.data().size(), requests_ == 1 ? 256u << 10 : settings_.frame_data_bytes_max);
    TakePieces(request);
    if (request.last()) {
      complete_ = true;
      for (const v1::Segment& input : accept_.inputs())
        EXPECT_EQ(in_[input.name()].size(), input.end_bytes() - input.begin_bytes());
    }
    Compute();
    Answer();
    return responses_;
  }

  const v1::TensorHeader& header() const { return header_; }
  const v1::Accept& accept() const { return accept_; }
  uint64_t requests() const { return requests_; }

 private:
  void Begin(const v1::TensorHeader& header) {
    header_ = header;
    elements_ = 1;
    for (uint64_t extent : header.shape()) elements_ *= extent;
    begin_element_ = header.has_range() ? header.range().begin() : 0;
    end_element_ = header.has_range() ? header.range().end() : elements_;
    EXPECT_EQ(begin_element_ % kUnitElements, 0u);
    EXPECT_LE(end_element_, elements_);
    const uint64_t units = (elements_ + kUnitElements - 1) / kUnitElements;
    *accept_.mutable_scheme() = header.scheme();
    (*accept_.mutable_scheme()->mutable_overrides())["block_size"] = "64";
    accept_.mutable_scheme()->set_format_revision(1);
    accept_.set_unit_elements(kUnitElements);
    accept_.set_batch_elements(kUnitElements * settings_.batch_units);
    accept_.set_window_bytes(settings_.window_bytes);
    accept_.set_frame_data_bytes_max(settings_.frame_data_bytes_max);
    auto& small_side = settings_.quantize ? *accept_.mutable_outputs() : *accept_.mutable_inputs();
    auto& values_side = settings_.quantize ? *accept_.mutable_inputs() : *accept_.mutable_outputs();
    Add(values_side, "values", v1::DATA_TYPE_FLOAT32, elements_ * 4, kUnitElements * 4);
    if (!settings_.quantize) Add(small_side, "offset", v1::DATA_TYPE_FLOAT32, 4, 0);
    Add(small_side, "scales", v1::DATA_TYPE_FLOAT32, units * 4, 4);
    Add(small_side, "codes", v1::DATA_TYPE_UINT8, elements_, kUnitElements);
    if (settings_.quantize) Add(small_side, "offset", v1::DATA_TYPE_FLOAT32, 4, 0);
  }

  void Add(google::protobuf::RepeatedPtrField<v1::Segment>& side, const char* name, v1::DataType dtype, uint64_t bytes,
           uint64_t unit_bytes) const {
    v1::Segment& segment = *side.Add();
    segment.set_name(name);
    segment.set_dtype(dtype);
    segment.add_shape(dtype == v1::DATA_TYPE_FLOAT32 ? bytes / 4 : bytes);
    segment.set_size_bytes(bytes);
    const uint64_t end_unit = (end_element_ + kUnitElements - 1) / kUnitElements;
    segment.set_begin_bytes(begin_element_ / kUnitElements * unit_bytes);
    segment.set_end_bytes(unit_bytes == 0 || end_element_ == elements_ ? bytes : end_unit * unit_bytes);
    segment.set_unit_bytes(unit_bytes);
  }

  void TakePieces(const v1::QuantizeRequest& request) {
    size_t position = 0;
    for (const v1::Piece& piece : request.pieces()) {
      const std::string bytes = request.data().substr(position, piece.length());
      position += piece.length();
      EXPECT_EQ(piece.offset(), BeginOf(piece.segment()) + in_[piece.segment()].size()) << piece.segment();
      EXPECT_EQ(piece.has_crc32c(), header_.checksum_kind() == v1::CHECKSUM_KIND_CRC32C);
      EXPECT_EQ(piece.crc32c(), piece.has_crc32c() ? CrcOf(bytes) : 0);
      in_[piece.segment()] += bytes;
      ExpectInBatchOrder(piece);
    }
    EXPECT_EQ(position, request.data().size());
  }

  // Everything that comes before this piece's batch must be there.
  void ExpectInBatchOrder(const v1::Piece& piece) {
    const auto& inputs = accept_.inputs();
    const auto self = std::find_if(inputs.begin(), inputs.end(),
                                   [&](const v1::Segment& one) { return one.name() == piece.segment(); });
    ASSERT_NE(self, inputs.end()) << piece.segment();
    if (self->unit_bytes() == 0 || inputs.size() == 1 || piece.length() == 0) return;
    const uint64_t batch =
        (piece.offset() - self->begin_bytes() + piece.length() - 1) / (settings_.batch_units * self->unit_bytes());
    for (const v1::Segment& other : inputs) {
      const uint64_t all = other.end_bytes() - other.begin_bytes();
      const uint64_t due =
          other.unit_bytes() == 0 ? all : std::min(all, batch * settings_.batch_units * other.unit_bytes());
      EXPECT_GE(in_[other.name()].size(), due) << other.name() << " before batch " << batch;
    }
  }

  // Whole units, and the rest at the end.
  void Compute() {
    if (settings_.quantize) {
      const uint64_t ready = complete_ ? in_["values"].size() : in_["values"].size() / 256 * 256;
      auto all = Quantized(in_["values"].substr(0, ready));
      if (!complete_) all["offset"].clear();
      out_ = std::move(all);
      return;
    }
    std::string& values = out_["values"];
    while (values.size() / 4 < in_["codes"].size()) {
      const uint64_t element = values.size() / 4;
      const uint64_t scale = element / kUnitElements * 4;
      if (scale + 4 > in_["scales"].size()) break;
      values += static_cast<char>(~in_["codes"][element]);
      values += in_["scales"].substr(scale, 3);
    }
  }

  void Answer() {
    v1::QuantizeResponse* response = NewResponse();
    if (requests_ == 1) *response->mutable_accept() = accept_;
    for (const v1::Segment& output : accept_.outputs()) {
      std::string& sent = sent_[output.name()];
      while (sent.size() < out_[output.name()].size()) {
        if (response->data().size() >= settings_.response_data_bytes) response = NewResponse();
        const std::string bytes =
            out_[output.name()].substr(sent.size(), settings_.response_data_bytes - response->data().size());
        v1::Piece& piece = *response->add_pieces();
        piece.set_segment(output.name());
        piece.set_offset(BeginOf(output.name()) + sent.size());
        piece.set_length(bytes.size());
        if (header_.checksum_kind() == v1::CHECKSUM_KIND_CRC32C) piece.set_crc32c(CrcOf(bytes));
        response->mutable_data()->append(bytes);
        sent += bytes;
      }
    }
    if (!complete_) return;
    v1::Summary& summary = *NewResponse()->mutable_summary();
    for (const v1::Segment& output : accept_.outputs()) {
      v1::SegmentDigest& digest = *summary.add_outputs();
      digest.set_name(output.name());
      digest.set_size_bytes(output.end_bytes() - output.begin_bytes());
      if (header_.checksum_kind() == v1::CHECKSUM_KIND_CRC32C) digest.set_crc32c(CrcOf(sent_[output.name()]));
    }
    summary.set_amax(2.5f);
    summary.set_nonfinite_count(3);
    summary.set_device("toy");
    summary.mutable_times()->set_compute_ns(1500);
  }

  uint64_t BeginOf(const std::string& name) const {
    for (const auto* side : {&accept_.inputs(), &accept_.outputs()}) {
      for (const v1::Segment& segment : *side) {
        if (segment.name() == name) return segment.begin_bytes();
      }
    }
    ADD_FAILURE() << "unknown segment " << name;
    return 0;
  }

  v1::QuantizeResponse* NewResponse() {
    v1::QuantizeResponse& response = responses_.emplace_back();
    response.set_tensor_seq(1);
    uint64_t consumed = 0;
    for (const auto& [name, bytes] : in_) consumed += bytes.size();
    response.set_consumed_bytes(consumed);
    return &response;
  }

  const Settings settings_;
  v1::TensorHeader header_;
  v1::Accept accept_;
  uint64_t elements_ = 0;
  uint64_t begin_element_ = 0;
  uint64_t end_element_ = 0;
  uint64_t requests_ = 0;
  bool complete_ = false;
  std::map<std::string, std::string> in_, out_, sent_;
  std::vector<v1::QuantizeResponse> responses_;
};

}  // namespace quantd::toy
