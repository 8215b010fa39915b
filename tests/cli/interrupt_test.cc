#include "client/cli/interrupt.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

namespace quantd::cli {
namespace {

// Signal handlers belong to a process, so each case runs in its own.
CancelToken& Token() {
  static CancelToken token;
  return token;
}

[[noreturn]] void ExitWithInterruption() {
  std::_Exit(Token().cancelled() ? 10 + static_cast<int>(FirstInterruption()) : 1);
}

TEST(CancelOnSignalsDeathTest, TurnsCtrlCIntoACancel) {
  EXPECT_EXIT(
      {
        CancelOnSignals(Token());
        std::raise(SIGINT);
        ExitWithInterruption();
      },
      ::testing::ExitedWithCode(10 + static_cast<int>(Interruption::kSignal)), "");
}

TEST(CancelOnSignalsDeathTest, EndsTheProgramOnTheSecondCtrlC) {
  EXPECT_EXIT(
      {
        CancelOnSignals(Token());
        std::raise(SIGINT);
        std::raise(SIGINT);
      },
      ::testing::KilledBySignal(SIGINT), "");
}

TEST(CancelOnSignalsDeathTest, SurvivesAMappedFileThatShrinks) {
  EXPECT_EXIT(
      {
        CancelOnSignals(Token());
        const int fd = ::memfd_create("shrinks", MFD_CLOEXEC);
        const off_t bytes = 3 * ::sysconf(_SC_PAGESIZE);
        if (::ftruncate(fd, bytes) != 0) std::_Exit(2);
        const void* mapping = ::mmap(nullptr, static_cast<size_t>(bytes), PROT_READ, MAP_PRIVATE, fd, 0);
        if (mapping == MAP_FAILED || ::ftruncate(fd, 0) != 0) std::_Exit(2);
        const volatile char* const text = static_cast<const volatile char*>(mapping);
        if (text[0] != 0 || text[bytes - 1] != 0) std::_Exit(3);
        ExitWithInterruption();
      },
      ::testing::ExitedWithCode(10 + static_cast<int>(Interruption::kFileShrank)), "");
}

TEST(CancelOnSignalsDeathTest, StillDiesOfOtherBusErrors) {
  EXPECT_EXIT(
      {
        CancelOnSignals(Token());
        std::raise(SIGBUS);
        std::raise(SIGBUS);
      },
      ::testing::KilledBySignal(SIGBUS), "");
}

}  // namespace
}  // namespace quantd::cli
