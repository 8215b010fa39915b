// Options that several commands have, with one meaning.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cli/environment.h"
#include "kernels/base/clock.h"

namespace CLI {
class App;
}

namespace quantd::cli {

inline constexpr uint32_t kMessageBytesMax = (4u << 20) - (64u << 10);

struct CallArguments {
  ServerChoice server;
  uint32_t message_bytes = 1u << 20;
  std::string timeout;  // as absl::ParseDuration reads it; empty: none
};

void AddServerOptions(CLI::App& command, ServerChoice& server);
void AddCallOptions(CLI::App& command, CallArguments& arguments);
void AddJsonFlag(CLI::App& command, bool& json);

// "KEY=VALUE" texts as a map. A usage error for a text without '=' or a key twice.
absl::StatusOr<std::map<std::string, std::string>> ParseSettings(const std::vector<std::string>& settings);

// What is left of the time that a whole command may take.
class Deadline {
 public:
  // A usage error for a text that is no positive duration.
  static absl::StatusOr<Deadline> FromNow(const std::string& timeout, const Clock& clock);
  // DEADLINE_EXCEEDED when nothing is left.
  absl::StatusOr<absl::Duration> Left() const;

 private:
  Deadline(absl::Time end, const Clock& clock) : end_(end), clock_(&clock) {}

  absl::Time end_;
  const Clock* clock_;
};

}  // namespace quantd::cli
