#include "server/lifecycle/unix_listener.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>

#include "server/config/listen_address.h"
#include "tests/server/lifecycle/scratch_folder.h"

namespace quantd::server {
namespace {

using ::testing::HasSubstr;

FileDescriptor ConnectTo(const std::string& path) {
  FileDescriptor client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  if (connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) return FileDescriptor();
  return client;
}

class UnixListenerTest : public ::testing::Test {
 protected:
  const ScratchFolder folder_;
  const std::string path_ = folder_.File("socket");
};

TEST_F(UnixListenerTest, HandsOverConnections) {
  auto listener = UnixListener::Listen(path_, 0600);
  ASSERT_TRUE(listener.ok()) << listener.status();
  std::promise<FileDescriptor> accepted;
  (*listener)->Start([&](int, FileDescriptor connection) { accepted.set_value(std::move(connection)); });
  const FileDescriptor client = ConnectTo(path_);
  ASSERT_TRUE(client.is_open());
  const FileDescriptor server_side = accepted.get_future().get();
  ASSERT_EQ(write(client.get(), "x", 1), 1);
  shutdown(client.get(), SHUT_WR);
  char byte = 0;
  while (read(server_side.get(), &byte, 1) < 0 && errno == EAGAIN) {
  }
  EXPECT_EQ(byte, 'x');
}

TEST_F(UnixListenerTest, GivesTheSocketFileTheModeThatWasAskedFor) {
  for (uint32_t mode : {0600u, 0660u, 0666u}) {
    const auto listener = UnixListener::Listen(path_, mode);
    ASSERT_TRUE(listener.ok()) << listener.status();
    struct stat found = {};
    ASSERT_EQ(stat(path_.c_str(), &found), 0);
    EXPECT_EQ(found.st_mode & 0777, mode);
  }
}

TEST_F(UnixListenerTest, RemovesItsSocketFileAtTheEnd) {
  {
    const auto listener = UnixListener::Listen(path_, 0600);
    ASSERT_TRUE(listener.ok()) << listener.status();
    EXPECT_TRUE(std::filesystem::exists(path_));
  }
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(UnixListenerTest, LeavesAFileThatHasTakenItsPlace) {
  {
    const auto listener = UnixListener::Listen(path_, 0600);
    ASSERT_TRUE(listener.ok()) << listener.status();
    std::filesystem::rename(path_, folder_.File("moved"));
    std::ofstream(path_) << "other";
  }
  EXPECT_TRUE(std::filesystem::exists(path_));
}

TEST_F(UnixListenerTest, TakesThePlaceOfASocketThatNobodyListensOn) {
  std::filesystem::path stale = folder_.File("stale");
  {
    const auto dead = UnixListener::Listen(path_, 0600);
    ASSERT_TRUE(dead.ok()) << dead.status();
    // Renamed, it stays behind when its listener ends.
    std::filesystem::rename(path_, stale);
  }
  ASSERT_TRUE(std::filesystem::is_socket(stale));
  const auto listener = UnixListener::Listen(stale, 0600);
  EXPECT_TRUE(listener.ok()) << listener.status();
  EXPECT_TRUE(ConnectTo(stale).is_open());
}

TEST_F(UnixListenerTest, RefusesASocketThatSomebodyListensOn) {
  const auto first = UnixListener::Listen(path_, 0600);
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second = UnixListener::Listen(path_, 0600);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(path_));
  EXPECT_TRUE(ConnectTo(path_).is_open());
}

TEST_F(UnixListenerTest, RefusesAPathThatIsAnotherFileAndLeavesIt) {
  std::ofstream(path_) << "precious";
  const auto listener = UnixListener::Listen(path_, 0600);
  EXPECT_EQ(listener.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(std::filesystem::file_size(path_), 8u);
}

TEST_F(UnixListenerTest, RefusesAPathInAFolderThatIsMissing) {
  const auto listener = UnixListener::Listen(folder_.File("missing/socket"), 0600);
  EXPECT_EQ(listener.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(listener.status().message()), HasSubstr("folder"));
}

TEST_F(UnixListenerTest, RefusesAPathThatIsTooLong) {
  const auto listener = UnixListener::Listen("/tmp/" + std::string(kUnixPathBytesMax, 'p'), 0600);
  EXPECT_EQ(listener.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(listener.status().message()), HasSubstr("107 bytes"));
}

TEST_F(UnixListenerTest, AcceptsNobodyAfterStop) {
  auto listener = UnixListener::Listen(path_, 0600);
  ASSERT_TRUE(listener.ok()) << listener.status();
  (*listener)->Start([](int, FileDescriptor) { ADD_FAILURE() << "accepted"; });
  (*listener)->Stop();
  EXPECT_FALSE(ConnectTo(path_).is_open());
  (*listener)->Stop();
}

}  // namespace
}  // namespace quantd::server
