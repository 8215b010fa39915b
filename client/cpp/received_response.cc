#include "client/cpp/received_response.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace quantd {

absl::Status ReceivedResponse::Parse(const grpc::ByteBuffer& message) {
  absl::StatusOr<wire::ReceivedFrame> frame = wire::ReceivedFrame::Parse(message);
  if (!frame.ok() || !fields_.ParseFromString(frame->fields())) {
    return absl::InternalError(absl::StrCat("The server broke the protocol: a response that cannot be read. ",
                                            std::string(frame.status().message())));
  }
  frame_ = *std::move(frame);
  return absl::OkStatus();
}

}  // namespace quantd
