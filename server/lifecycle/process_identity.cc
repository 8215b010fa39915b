#include "server/lifecycle/process_identity.h"

#include <random>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

namespace quantd::server {

ProcessIdentity MakeProcessIdentity() {
  std::random_device random;
  ProcessIdentity identity;
  for (int i = 0; i < 4; ++i) identity.server_instance += absl::StrFormat("%08x", uint32_t{random()});
  identity.epoch = static_cast<uint64_t>(absl::GetCurrentTimeNanos());
  return identity;
}

}  // namespace quantd::server
