// What tells this run of the server from every other.
#pragma once

#include <cstdint>
#include <string>

namespace quantd::server {

struct ProcessIdentity {
  std::string server_instance;  // 128 random bits, as 32 hexadecimal digits
  uint64_t epoch = 0;           // now, Unix nanoseconds
};

ProcessIdentity MakeProcessIdentity();

}  // namespace quantd::server
