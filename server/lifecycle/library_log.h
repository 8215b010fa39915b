// What gRPC and protobuf have to say as lines of our log, so that a JSON log is JSON throughout and no client can flood
// it.
#pragma once

#include "server/telemetry/logger.h"

namespace quantd::server {

// While this object lives; at most one at a time. `logger` must outlive it.
class LibraryLogRedirect {
 public:
  explicit LibraryLogRedirect(Logger& logger);
  ~LibraryLogRedirect();
  LibraryLogRedirect(const LibraryLogRedirect&) = delete;
  LibraryLogRedirect& operator=(const LibraryLogRedirect&) = delete;
};

}  // namespace quantd::server
