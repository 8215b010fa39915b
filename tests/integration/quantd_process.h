// The real quantd as a child process.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace quantd::testing {

class QuantdProcess {
 public:
  // Starts build/bin/quantd on a free port of the loopback interface and waits until it listens. Throws
  // std::runtime_error if it does not.
  explicit QuantdProcess(const std::vector<std::string>& arguments = {});
  // Kills it if it still runs.
  ~QuantdProcess();
  QuantdProcess(const QuantdProcess&) = delete;
  QuantdProcess& operator=(const QuantdProcess&) = delete;

  const std::string& address() const { return address_; }
  pid_t pid() const { return pid_; }

  // The most memory that it ever had resident, from /proc.
  uint64_t PeakRssBytes() const;
  // What it has resident now.
  uint64_t RssBytes() const;

  // Sends the signal and waits for the end. The exit code, or minus the signal that ended it.
  int Stop(int signal);

 private:
  uint64_t StatusBytes(const std::string& name) const;

  pid_t pid_ = -1;
  std::string address_;
};

}  // namespace quantd::testing
