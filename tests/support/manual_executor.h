// Computing threads without threads: what is submitted waits until the test runs it, in the order that the test likes.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <utility>

namespace quantd::testing {

class ManualExecutor {
 public:
  void Submit(std::function<void()> work) { work_.push_back(std::move(work)); }

  size_t waiting() const { return work_.size(); }
  // False if nothing waits.
  bool RunOldest() { return Run(0); }
  bool RunNewest() { return Run(work_.size() - 1); }
  bool Run(size_t index) {
    if (index >= work_.size()) return false;
    const auto work = std::exchange(work_[index], nullptr);
    work_.erase(work_.begin() + static_cast<std::ptrdiff_t>(index));
    work();
    return true;
  }
  void RunAll() {
    while (RunOldest()) {
    }
  }

 private:
  std::deque<std::function<void()>> work_;
};

}  // namespace quantd::testing
