// A queue that is fair between principals.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>

#include "server/session/turn.h"

namespace quantd::server {

// How often work of a lower priority lets that of higher ones pass before it runs, so that it comes to an end too.
inline constexpr uint32_t kPassedOverMax = 16;

// Start-time fair queueing: each principal has a clock that its work moves on by bytes / weight, and the principal
// whose clock is furthest behind is next. So principals with work waiting get bytes in proportion to their weights;
// what one does not use goes to the others; and one that was idle has saved up nothing. Within a principal higher
// priorities go first, first come first served within one; see kPassedOverMax. Looks at every principal that has work
// waiting, tens of them. Has no limit of its own: what is in it belongs to streams. Not thread-safe.
template <typename Item>
class FairQueue {
 public:
  void Push(const Turn& turn, Item item) {
    Line& line = lines_[turn.principal.name];
    if (line.empty()) line.clock = std::max(line.clock, now_);
    line.weight = std::max(turn.principal.weight, 1u);
    line.waiting[static_cast<size_t>(turn.priority)].items.push_back({std::move(item), turn.bytes});
    ++size_;
  }

  // The next one; must not be empty.
  Item Pop() {
    const auto next = std::min_element(lines_.begin(), lines_.end(), [](const auto& a, const auto& b) {
      if (a.second.empty() != b.second.empty()) return b.second.empty();
      return a.second.clock < b.second.clock;
    });
    Line& line = next->second;
    Entry entry = line.Take();
    now_ = line.clock;
    line.clock += static_cast<double>(entry.bytes) / line.weight;
    --size_;
    ForgetWhoHasNothingToRemember();
    return std::move(entry.item);
  }

  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }
  // That have work waiting, or have lately had more than their part.
  size_t principals() const { return lines_.size(); }

 private:
  struct Entry {
    Item item;
    uint64_t bytes = 0;
  };
  struct Waiting {
    std::deque<Entry> items;
    uint32_t passed_over = 0;
  };
  struct Line {
    bool empty() const {
      return std::all_of(waiting.begin(), waiting.end(), [](const Waiting& w) { return w.items.empty(); });
    }

    Entry Take() {
      Waiting* chosen = nullptr;
      for (Waiting& candidate : waiting) {  // from the lowest priority up
        if (candidate.items.empty()) continue;
        chosen = &candidate;
        if (candidate.passed_over >= kPassedOverMax) break;
      }
      for (Waiting& lower : waiting) {
        if (&lower == chosen) break;
        if (!lower.items.empty()) ++lower.passed_over;
      }
      chosen->passed_over = 0;
      Entry entry = std::move(chosen->items.front());
      chosen->items.pop_front();
      return entry;
    }

    std::array<Waiting, 3> waiting;  // by priority
    uint32_t weight = 1;
    double clock = 0;
  };

  void ForgetWhoHasNothingToRemember() {
    std::erase_if(lines_, [this](const auto& line) { return line.second.empty() && line.second.clock <= now_; });
  }

  std::map<std::string, Line> lines_;
  double now_ = 0;  // the clock of the principal that was served last
  size_t size_ = 0;
};

}  // namespace quantd::server
