#include "client/cli/interrupt.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <csignal>

namespace quantd::cli {
namespace {

// Signal handlers can reach nothing but globals, and only lock-free atomics among them.
std::atomic<CancelToken*> cancelled_token{nullptr};
std::atomic<Interruption> first_interruption{Interruption::kNone};
std::atomic<uintptr_t> page_bytes{4096};
static_assert(std::atomic<CancelToken*>::is_always_lock_free && std::atomic<Interruption>::is_always_lock_free);

void Interrupt(Interruption interruption) {
  Interruption none = Interruption::kNone;
  first_interruption.compare_exchange_strong(none, interruption);
  cancelled_token.load()->Cancel();
}

void OnStopSignal(int) { Interrupt(Interruption::kSignal); }

void OnBusError(int signal, siginfo_t* info, void*) {
  char* const page = static_cast<char*>(info->si_addr) - reinterpret_cast<uintptr_t>(info->si_addr) % page_bytes.load();
  // Anything but a read beyond the end of a file dies as it would have: the instruction runs again without a handler.
  const bool beyond_end = info->si_code == BUS_ADRERR;
  if (beyond_end &&
      ::mmap(page, page_bytes.load(), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED) {
    Interrupt(Interruption::kFileShrank);
  } else {
    std::signal(signal, SIG_DFL);
  }
}

}  // namespace

void CancelOnSignals(CancelToken& token) {
  cancelled_token = &token;
  page_bytes = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  struct sigaction stop{};
  stop.sa_handler = OnStopSignal;
  stop.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
  ::sigaction(SIGINT, &stop, nullptr);
  ::sigaction(SIGTERM, &stop, nullptr);
  struct sigaction bus{};
  bus.sa_sigaction = OnBusError;
  bus.sa_flags = SA_SIGINFO;
  ::sigaction(SIGBUS, &bus, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

Interruption FirstInterruption() { return first_interruption.load(); }

}  // namespace quantd::cli
