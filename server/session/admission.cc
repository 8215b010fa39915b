#include "server/session/admission.h"

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"

namespace quantd::server {
namespace {

// A stream's end is nothing that the server could foresee.
constexpr absl::Duration kStreamWait = absl::Seconds(1);

}  // namespace

absl::StatusOr<Admission::Ticket> Admission::Enter(const Principal& principal) {
  absl::MutexLock lock(&mutex_);
  if (draining_) {
    return MakeError(absl::StatusCode::kUnavailable, reason::kServerDraining,
                     "the server is shutting down. Use another replica, or try again in a few seconds.");
  }
  if (streams_ >= limits_.streams_max) {
    return MakeError(
        absl::StatusCode::kUnavailable, reason::kServerStreams,
        "all " + std::to_string(limits_.streams_max) +
            " streams of this server are in use. Try again later, or use another replica.",
        {{"streams_max", std::to_string(limits_.streams_max)}, {kRetryDelayKey, retry_delays_.Next(kStreamWait)}});
  }
  const auto own = streams_of_.find(principal.name);
  if (own != streams_of_.end() && own->second >= limits_.streams_per_principal_max) {
    return MakeError(absl::StatusCode::kResourceExhausted, reason::kPrincipalStreams,
                     principal.name + " has all of its " + std::to_string(limits_.streams_per_principal_max) +
                         " streams open. Close one, or send several tensors over one stream.",
                     {{"streams_per_principal_max", std::to_string(limits_.streams_per_principal_max)}});
  }
  ++streams_;
  ++streams_of_[principal.name];
  return Ticket(*this, principal);
}

void Admission::BeginDrain() {
  absl::MutexLock lock(&mutex_);
  draining_ = true;
}

uint32_t Admission::streams() const {
  absl::MutexLock lock(&mutex_);
  return streams_;
}

void Admission::Leave(const Principal& principal) {
  absl::MutexLock lock(&mutex_);
  --streams_;
  const auto own = streams_of_.find(principal.name);
  if (--own->second == 0) streams_of_.erase(own);
}

}  // namespace quantd::server
