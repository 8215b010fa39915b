// How far long work has come: a bar on a terminal, plain lines elsewhere.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>

#include "absl/time/time.h"
#include "kernels/base/clock.h"

namespace quantd::cli {

class Progress {
 public:
  static constexpr absl::Duration kBarInterval = absl::Milliseconds(100);
  static constexpr absl::Duration kLineInterval = absl::Seconds(10);

  // `verb` is what happens, as "quantizing".
  Progress(std::ostream& stream, bool terminal, const Clock& clock, std::string verb, size_t tensors,
           uint64_t total_bytes);
  ~Progress();  // takes the bar away
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // The next tensor of `bytes` bytes begins.
  void Begin(const std::string& tensor, uint64_t bytes);
  // So many bytes of it are done.
  void Update(uint64_t bytes);
  // It is complete.
  void End();

 private:
  void Draw();
  std::string Describe(uint64_t done_bytes) const;

  std::ostream& stream_;
  const bool terminal_;
  const Clock& clock_;
  const std::string verb_;
  const size_t tensors_;
  const uint64_t total_bytes_;
  const absl::Time begin_;
  absl::Time last_output_;
  size_t number_ = 0;
  std::string tensor_;
  uint64_t tensor_bytes_ = 0;
  uint64_t tensor_done_bytes_ = 0;
  uint64_t earlier_bytes_ = 0;
};

}  // namespace quantd::cli
