// A value that is made when it is first asked for.
#pragma once

#include <mutex>
#include <optional>

namespace quantd {

// Made at most once, and then stays. Safe from any thread.
template <typename T>
class Once {
 public:
  // `make` returns the value; of several that are given at the same time one is called, and the others wait for it.
  template <typename Make>
  const T& Get(const Make& make) const {
    std::call_once(made_, [&] { value_.emplace(make()); });
    return *value_;
  }

 private:
  mutable std::once_flag made_;
  mutable std::optional<T> value_;
};

}  // namespace quantd
