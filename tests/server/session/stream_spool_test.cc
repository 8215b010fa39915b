// Double quantization whose offset the server computes: two passes, and the spool between them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "tests/support/session_harness.h"

namespace quantd::server {
namespace {

using testing::Bytes;
using testing::Expected;
using testing::Frames;
using testing::QuantizeInput;
using testing::Request;
using testing::SessionServer;
using testing::SessionServerOptions;
using testing::TestStream;

TensorRequest Spooled(uint64_t elements) {
  return Request(DataType::kBFloat16, {elements}, "bnb-nf4", {{"double_quant", "true"}, {"block_size", "32"}});
}

SessionServerOptions Options() { return {.limits = testing::SmallLimits(), .spool_memory_bytes_max = 0}; }

TEST(StreamSpool, SeveralBatchesInBothPassesEqualOneRunOverTheWholeTensor) {
  std::mt19937_64 random = testing::MakeRandom(1);
  const TensorRequest request = Spooled(7'000'001);
  const Bytes values = testing::RandomValues(random, request);
  SessionServer server(Options());
  TestStream stream(server);
  stream.Send(Frames(1, QuantizeInput(request, values), 1 << 20));
  stream.RunAll();
  const testing::TensorOutput output = stream.Output(1);
  ASSERT_TRUE(output.summary.has_value()) << output.error;
  EXPECT_EQ(output.segments, Expected(Direction::kQuantize, request, {{"values", values}}));
  EXPECT_THAT(output.segment_order, ::testing::ElementsAre("codes", "scales", "nested_scales", "offset"));
}

TEST(StreamSpool, ASmallTensorIsStillOneMessageEachWay) {
  std::mt19937_64 random = testing::MakeRandom(2);
  const TensorRequest request = Spooled(10'000);
  const Bytes values = testing::RandomValues(random, request);
  SessionServer server;
  TestStream stream(server);
  stream.Send(Frames(1, QuantizeInput(request, values), 1 << 20));
  stream.RunAll();
  EXPECT_EQ(stream.io.frames.size(), 1u);
  EXPECT_EQ(stream.Output(1).segments, Expected(Direction::kQuantize, request, {{"values", values}}));
}

TEST(StreamSpool, TheMeanDoesNotDependOnTheOrderOfComputation) {
  std::mt19937_64 random = testing::MakeRandom(3);
  const TensorRequest request = Spooled(1'500'000);
  const Bytes values = testing::RandomValues(random, request);
  SessionServer server(Options());
  TestStream stream(server);
  stream.Send(Frames(1, QuantizeInput(request, values), 100'000));
  while (stream.Deliver() || (server.executor.waiting() > 0 && server.executor.RunNewest()) || stream.TakeWritten()) {
  }
  EXPECT_EQ(stream.Output(1).segments, Expected(Direction::kQuantize, request, {{"values", values}}));
}

TEST(StreamSpool, ItsBytesAreReservedAtTheHeaderAndReleasedAtTheEnd) {
  SessionServer server(Options());
  TestStream stream(server);
  const TensorRequest request = Spooled(64'000);
  auto frames = Frames(1, QuantizeInput(request, Bytes(128'000)), 100'000);
  stream.Send(frames[0]);
  stream.RunAll();
  EXPECT_EQ(server.spool_budget.bytes_reserved(), 64'000u / 32 * 4);
  stream.Send(frames[1]);
  stream.RunAll();
  EXPECT_TRUE(stream.Output(1).summary.has_value());
  EXPECT_EQ(server.spool_budget.bytes_reserved(), 0u);
}

TEST(StreamSpool, AKnownOffsetNeedsNone) {
  SessionServer server(Options());
  TestStream stream(server);
  TensorRequest request = Spooled(64'000);
  request.known.offset = 1.0f;
  stream.Send(testing::HeaderFrame(1, request));
  stream.RunAll();
  EXPECT_EQ(server.spool_budget.bytes_reserved(), 0u);
}

class StreamSpoolFailure : public ::testing::TestWithParam<int> {
 protected:
  void ExpectTensorFailsAndStreamGoesOn(const SpoolFileOps& ops, absl::StatusCode code) {
    SessionServerOptions options = Options();
    options.spool_ops = ops;
    SessionServer server(options);
    TestStream stream(server);
    const TensorRequest spooled = Spooled(1'500'000);
    const TensorRequest plain = Request(DataType::kFloat32, {640});
    stream.Send(Frames(1, QuantizeInput(spooled, Bytes(3'000'000)), 1 << 20));
    stream.Send(Frames(2, QuantizeInput(plain, Bytes(2560)), 1 << 20));
    stream.RunAll();
    EXPECT_EQ(stream.Output(1).error.code(), code) << stream.Output(1).error;
    EXPECT_EQ(DetailsOf(stream.Output(1).error).reason, reason::kSpoolFailed);
    EXPECT_TRUE(stream.Output(2).summary.has_value());
    EXPECT_EQ(server.spool_budget.bytes_reserved(), 0u);
    EXPECT_EQ(server.slots_in_use(), 0u);
  }
};

TEST_P(StreamSpoolFailure, AFullDiskIsTheTensorsError) {
  SpoolFileOps ops = SpoolFileOps::Real();
  ops.pwrite = [calls = 0](int fd, const void* source, size_t size, off_t offset) mutable -> ssize_t {
    if (calls++ < GetParam()) return pwrite(fd, source, size, offset);
    errno = ENOSPC;
    return -1;
  };
  ExpectTensorFailsAndStreamGoesOn(ops, absl::StatusCode::kResourceExhausted);
}

TEST_P(StreamSpoolFailure, ADiskThatCannotBeReadIsTheTensorsError) {
  SpoolFileOps ops = SpoolFileOps::Real();
  ops.pread = [calls = 0](int fd, void* target, size_t size, off_t offset) mutable -> ssize_t {
    if (calls++ < GetParam()) return pread(fd, target, std::min<size_t>(size, 1000), offset);
    errno = EIO;
    return -1;
  };
  ExpectTensorFailsAndStreamGoesOn(ops, absl::StatusCode::kInternal);
}

INSTANTIATE_TEST_SUITE_P(AfterCalls, StreamSpoolFailure, ::testing::Values(0, 1, 2));

TEST(StreamSpool, AFileThatCannotBeMadeIsTheTensorsErrorAtItsHeader) {
  SessionServerOptions options = Options();
  options.spool_ops.open_unnamed = [](const std::string&) {
    errno = EMFILE;
    return -1;
  };
  SessionServer server(options);
  TestStream stream(server);
  stream.Send(testing::HeaderFrame(1, Spooled(64'000)));
  stream.RunAll();
  EXPECT_EQ(DetailsOf(stream.Output(1).error).reason, reason::kSpoolFailed);
}

}  // namespace
}  // namespace quantd::server
