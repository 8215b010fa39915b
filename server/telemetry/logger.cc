#include "server/telemetry/logger.h"

#include <spdlog/async.h>
#include <spdlog/async_logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <utility>

#include "server/telemetry/log_line.h"

namespace quantd::server {
namespace {

// %l is spdlog's name of the level, %v what we formatted.
constexpr const char* kTextPattern = "%Y-%m-%dT%H:%M:%S.%eZ %l %v";
constexpr const char* kJsonPattern = R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})";

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

class SpdlogLogger final : public Logger {
 public:
  SpdlogLogger(LogLevel level, LogFormat format, spdlog::sink_ptr sink)
      : format_(format),
        writer_(std::make_shared<spdlog::details::thread_pool>(kLogQueueLines, 1)),
        logger_(std::make_shared<spdlog::async_logger>("quantd", std::move(sink), writer_,
                                                       spdlog::async_overflow_policy::overrun_oldest)) {
    logger_->set_level(ToSpdlog(level));
    logger_->set_formatter(std::make_unique<spdlog::pattern_formatter>(
        format == LogFormat::kJson ? kJsonPattern : kTextPattern, spdlog::pattern_time_type::utc));
    logger_->flush_on(ToSpdlog(level));
  }

  void Write(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) override {
    if (!logger_->should_log(ToSpdlog(level))) return;
    const std::string line = format_ == LogFormat::kJson ? JsonMembers(message, fields) : TextLine(message, fields);
    logger_->log(ToSpdlog(level), spdlog::string_view_t(line.data(), line.size()));
  }

 private:
  const LogFormat format_;
  const std::shared_ptr<spdlog::details::thread_pool> writer_;  // its destructor writes what is queued
  const std::shared_ptr<spdlog::async_logger> logger_;
};

}  // namespace

std::unique_ptr<Logger> MakeStderrLogger(LogLevel level, LogFormat format) {
  return std::make_unique<SpdlogLogger>(level, format, std::make_shared<spdlog::sinks::stderr_sink_mt>());
}

std::unique_ptr<Logger> MakeStreamLogger(LogLevel level, LogFormat format, std::ostream& out) {
  return std::make_unique<SpdlogLogger>(level, format, std::make_shared<spdlog::sinks::ostream_sink_mt>(out));
}

}  // namespace quantd::server
