#include "client/cpp/send_order.h"

#include <algorithm>
#include <utility>

#include "kernels/base/checked_math.h"

namespace quantd {

SendOrder::SendOrder(std::vector<Segment> segments) {
  for (Segment& segment : segments) {
    unsent_bytes_ += segment.bytes;
    order_.push_back(states_.size());
    states_.push_back({std::move(segment), 0, 0});
  }
}

void SendOrder::SetOrder(const std::vector<SegmentOrder>& order) {
  order_.clear();
  for (const SegmentOrder& entry : order) {
    for (size_t i = 0; i < states_.size(); ++i) {
      if (states_[i].segment.name != entry.name) continue;
      states_[i].batch_bytes = entry.batch_bytes;
      order_.push_back(i);
    }
  }
}

std::optional<Run> SendOrder::Next(uint64_t bytes_max) {
  if (done()) return std::nullopt;
  for (size_t index : order_) {
    if (states_[index].batch_bytes != 0) continue;
    if (auto run = TakeFrom(index, states_[index].segment.bytes, bytes_max)) return run;
  }
  for (;; ++batch_) {
    for (size_t index : order_) {
      if (auto run = TakeFrom(index, BatchEnd(states_[index]), bytes_max)) return run;
    }
  }
}

uint64_t SendOrder::BatchEnd(const State& state) const {
  const auto end = CheckedMul(batch_ + 1, state.batch_bytes);
  return std::min(state.segment.bytes, end.value_or(state.segment.bytes));
}

std::optional<Run> SendOrder::TakeFrom(size_t index, uint64_t end, uint64_t bytes_max) {
  State& state = states_[index];
  if (state.sent >= end) return std::nullopt;
  const Run run{index, state.sent, std::min(bytes_max, end - state.sent)};
  state.sent += run.bytes;
  unsent_bytes_ -= run.bytes;
  return run;
}

}  // namespace quantd
