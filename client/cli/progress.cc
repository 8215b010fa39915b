#include "client/cli/progress.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "client/cli/human.h"
#include "server/conversion/printable.h"

namespace quantd::cli {
namespace {

constexpr size_t kBarCells = 24;
constexpr char kEraseLine[] = "\r\x1b[2K";

}  // namespace

Progress::Progress(std::ostream& stream, bool terminal, const Clock& clock, std::string verb, size_t tensors,
                   uint64_t total_bytes)
    : stream_(stream),
      terminal_(terminal),
      clock_(clock),
      verb_(std::move(verb)),
      tensors_(tensors),
      total_bytes_(total_bytes),
      begin_(clock.Now()),
      last_output_(absl::InfinitePast()) {}

Progress::~Progress() {
  if (terminal_ && number_ > 0) stream_ << kEraseLine << std::flush;
}

void Progress::Begin(const std::string& tensor, uint64_t bytes) {
  ++number_;
  tensor_ = server::Printable(tensor);
  tensor_bytes_ = bytes;
  tensor_done_bytes_ = 0;
  if (terminal_) {
    Draw();
  } else {
    stream_ << absl::StrFormat("%s %d/%d %s (%s)\n", verb_, number_, tensors_, tensor_, HumanBytes(bytes));
    last_output_ = clock_.Now();
  }
}

void Progress::Update(uint64_t bytes) {
  tensor_done_bytes_ = bytes;
  Draw();
}

void Progress::End() {
  earlier_bytes_ += tensor_bytes_;
  tensor_bytes_ = tensor_done_bytes_ = 0;
}

void Progress::Draw() {
  const absl::Time now = clock_.Now();
  if (now - last_output_ < (terminal_ ? kBarInterval : kLineInterval)) return;
  last_output_ = now;
  const uint64_t done_bytes = earlier_bytes_ + tensor_done_bytes_;
  if (terminal_) {
    const double share = total_bytes_ > 0 ? static_cast<double>(done_bytes) / static_cast<double>(total_bytes_) : 0;
    const size_t cells = std::min(kBarCells, static_cast<size_t>(share * kBarCells));
    stream_ << absl::StrFormat("%s[%s%s] %s", kEraseLine, std::string(cells, '#'), std::string(kBarCells - cells, '.'),
                               Describe(done_bytes))
            << std::flush;
  } else {
    stream_ << verb_ << " " << Describe(done_bytes) << "\n" << std::flush;
  }
}

std::string Progress::Describe(uint64_t done_bytes) const {
  return absl::StrFormat("%s of %s, %s GB/s, %d/%d %s", HumanBytes(done_bytes), HumanBytes(total_bytes_),
                         HumanGigabytesPerSecond(done_bytes, clock_.Now() - begin_), number_, tensors_, tensor_);
}

}  // namespace quantd::cli
