// gRPC's own messages as lines of our log, so that a JSON log is JSON throughout.
#pragma once

#include "server/telemetry/logger.h"

namespace quantd::server {

// While this object lives; at most one at a time. `logger` must outlive it.
class GrpcLogRedirect {
 public:
  explicit GrpcLogRedirect(Logger& logger);
  ~GrpcLogRedirect();
  GrpcLogRedirect(const GrpcLogRedirect&) = delete;
  GrpcLogRedirect& operator=(const GrpcLogRedirect&) = delete;
};

}  // namespace quantd::server
