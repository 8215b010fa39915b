// In which order the bytes of a tensor's input segments go out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace quantd {

// A segment as the server's Accept, or a guess before it, describes it.
struct SegmentOrder {
  std::string name;
  uint64_t batch_bytes = 0;  // bytes that one batch owns; 0: the segment belongs to the whole tensor and goes first
};

// A contiguous run of one segment.
struct Run {
  size_t segment = 0;  // as in the constructor's vector
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

// Whole-tensor segments first, then batch by batch all segments of the batch, in the order given. The order may be set
// again while bytes are on their way: what has gone out stays gone out.
class SendOrder {
 public:
  struct Segment {
    std::string name;
    uint64_t bytes = 0;
  };
  explicit SendOrder(std::vector<Segment> segments);

  // `order` must name every segment once.
  void SetOrder(const std::vector<SegmentOrder>& order);
  // The next run, at most bytes_max (> 0) long; nothing when all is out.
  std::optional<Run> Next(uint64_t bytes_max);
  bool done() const { return unsent_bytes_ == 0; }

 private:
  struct State {
    Segment segment;
    uint64_t sent = 0;
    uint64_t batch_bytes = 0;
  };
  // Where the segment's part of the current batch ends.
  uint64_t BatchEnd(const State& state) const;
  std::optional<Run> TakeFrom(size_t index, uint64_t end, uint64_t bytes_max);

  std::vector<State> states_;
  std::vector<size_t> order_;  // indices into states_
  uint64_t batch_ = 0;
  uint64_t unsent_bytes_ = 0;
};

}  // namespace quantd
