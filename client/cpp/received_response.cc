#include "client/cpp/received_response.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/base/status_macros.h"

namespace quantd {

absl::Status ReceivedResponse::Parse(const grpc::ByteBuffer& message) {
  absl::StatusOr<wire::ReceivedFrame> frame = wire::ReceivedFrame::Parse(message, ResponseFields::kAcceptFieldNumber);
  if (!frame.ok() || !fields_.ParseFromString(frame->fields())) {
    return absl::InternalError(absl::StrCat("The server broke the protocol: a response that cannot be read. ",
                                            std::string(frame.status().message())));
  }
  frame_ = *std::move(frame);
  if (frame_->apart().empty()) return absl::OkStatus();  // an accept has fields
  QUANTD_ASSIGN_OR_RETURN(accept_, accepts_.Get(frame_->apart()));
  return absl::OkStatus();
}

}  // namespace quantd
