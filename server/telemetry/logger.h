// Structured log lines on one sink, as text for people or as JSON for machines.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <variant>

#include "server/config/server_config.h"

namespace quantd::server {

// One named value of a line. The name is lower_snake_case and the program's own; the value may come from anybody.
struct LogField {
  std::string_view name;
  std::variant<std::string, uint64_t, double> value;
};

// Text: `2024-05-01T12:00:00.123Z info message name=value name="quoted value"`.
// JSON: `{"time":"2024-05-01T12:00:00.123Z","level":"info","message":"...","name":value}`.
// Whatever is in a value, a line stays one line and JSON stays valid: control, invalid UTF-8 and non-ASCII bytes are
// escaped, and a value is cut after kLogValueBytesMax bytes.
class Logger {
 public:
  virtual ~Logger() = default;

  // Safe from any thread. Never blocks on the sink: a thread behind a queue of kLogQueueLines lines writes, and when
  // the queue is full its oldest lines are lost. Destroying the logger writes what is queued.
  virtual void Write(LogLevel level, std::string_view message, std::initializer_list<LogField> fields = {}) = 0;
};

inline constexpr uint32_t kLogQueueLines = 8192;
inline constexpr uint32_t kLogValueBytesMax = 1024;

// Lines of `level` and above, to standard error.
std::unique_ptr<Logger> MakeStderrLogger(LogLevel level, LogFormat format);

// The same to `out`, which must outlive the logger and belongs to it until then.
std::unique_ptr<Logger> MakeStreamLogger(LogLevel level, LogFormat format, std::ostream& out);

}  // namespace quantd::server
