// Tells ThreadSanitizer what absl::Mutex, absl::CondVar and gRPC's completion queues order. Debian's Abseil and gRPC
// are not instrumented, so every variable under such a mutex would look like a race; gRPC's own locks are among them.
// Linked into the programs of the tsan preset only: these definitions come before the library's, and pass on to it.
#include <dlfcn.h>

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "grpc/grpc.h"

extern "C" void __tsan_acquire(void* address);
extern "C" void __tsan_release(void* address);
extern "C" void AnnotateIgnoreReadsBegin(const char* file, int line);
extern "C" void AnnotateIgnoreReadsEnd(const char* file, int line);
extern "C" void AnnotateIgnoreWritesBegin(const char* file, int line);
extern "C" void AnnotateIgnoreWritesEnd(const char* file, int line);

namespace {

template <size_t kBytes>
struct Symbol {
  consteval Symbol(const char (&text)[kBytes]) { std::copy_n(text, kBytes, name); }
  char name[kBytes];
};

// Whoever gives a mutex up looks at the conditions of those who wait, inside the mutex but out of ThreadSanitizer's
// sight.
class UnseenAccesses {
 public:
  UnseenAccesses() {
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  }
  ~UnseenAccesses() {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
  UnseenAccesses(const UnseenAccesses&) = delete;
  UnseenAccesses& operator=(const UnseenAccesses&) = delete;
};

// The library's own function of that mangled name.
template <Symbol kName, class Function>
Function& FunctionOf() {
  static auto* const function = reinterpret_cast<Function*>(dlsym(RTLD_NEXT, kName.name));
  return *function;
}

template <Symbol kName, class Function, class... Arguments>
auto Library(Arguments&&... arguments) {
  Function& function = FunctionOf<kName, Function>();
  const UnseenAccesses unseen;
  return function(std::forward<Arguments>(arguments)...);
}

// For as long as a wait: before it the mutex is given up, after it held again.
class Released {
 public:
  explicit Released(void* mutex) : mutex_(mutex) { __tsan_release(mutex_); }
  ~Released() { __tsan_acquire(mutex_); }
  Released(const Released&) = delete;
  Released& operator=(const Released&) = delete;

 private:
  void* const mutex_;
};

}  // namespace

namespace absl {
ABSL_NAMESPACE_BEGIN

void Mutex::Lock() {
  Library<"_ZN4absl7debian35Mutex4LockEv", void(Mutex*)>(this);
  __tsan_acquire(this);
}

bool Mutex::TryLock() {
  const bool locked = Library<"_ZN4absl7debian35Mutex7TryLockEv", bool(Mutex*)>(this);
  if (locked) __tsan_acquire(this);
  return locked;
}

void Mutex::Unlock() {
  __tsan_release(this);
  Library<"_ZN4absl7debian35Mutex6UnlockEv", void(Mutex*)>(this);
}

void Mutex::ReaderLock() {
  Library<"_ZN4absl7debian35Mutex10ReaderLockEv", void(Mutex*)>(this);
  __tsan_acquire(this);
}

void Mutex::ReaderUnlock() {
  __tsan_release(this);
  Library<"_ZN4absl7debian35Mutex12ReaderUnlockEv", void(Mutex*)>(this);
}

void Mutex::LockWhen(const Condition& condition) {
  Library<"_ZN4absl7debian35Mutex8LockWhenERKNS0_9ConditionE", void(Mutex*, const Condition&)>(this, condition);
  __tsan_acquire(this);
}

bool Mutex::LockWhenWithTimeout(const Condition& condition, Duration timeout) {
  const bool holds = Library<"_ZN4absl7debian35Mutex19LockWhenWithTimeoutERKNS0_9ConditionENS0_8DurationE",
                             bool(Mutex*, const Condition&, Duration)>(this, condition, timeout);
  __tsan_acquire(this);
  return holds;
}

bool Mutex::LockWhenWithDeadline(const Condition& condition, Time deadline) {
  const bool holds = Library<"_ZN4absl7debian35Mutex20LockWhenWithDeadlineERKNS0_9ConditionENS0_4TimeE",
                             bool(Mutex*, const Condition&, Time)>(this, condition, deadline);
  __tsan_acquire(this);
  return holds;
}

void Mutex::Await(const Condition& condition) {
  const Released released(this);
  Library<"_ZN4absl7debian35Mutex5AwaitERKNS0_9ConditionE", void(Mutex*, const Condition&)>(this, condition);
}

bool Mutex::AwaitWithTimeout(const Condition& condition, Duration timeout) {
  const Released released(this);
  return Library<"_ZN4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE",
                 bool(Mutex*, const Condition&, Duration)>(this, condition, timeout);
}

bool Mutex::AwaitWithDeadline(const Condition& condition, Time deadline) {
  const Released released(this);
  return Library<"_ZN4absl7debian35Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE",
                 bool(Mutex*, const Condition&, Time)>(this, condition, deadline);
}

void CondVar::Wait(Mutex* mutex) {
  const Released released(mutex);
  Library<"_ZN4absl7debian37CondVar4WaitEPNS0_5MutexE", void(CondVar*, Mutex*)>(this, mutex);
}

bool CondVar::WaitWithTimeout(Mutex* mutex, Duration timeout) {
  const Released released(mutex);
  return Library<"_ZN4absl7debian37CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE",
                 bool(CondVar*, Mutex*, Duration)>(this, mutex, timeout);
}

bool CondVar::WaitWithDeadline(Mutex* mutex, Time deadline) {
  const Released released(mutex);
  return Library<"_ZN4absl7debian37CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE", bool(CondVar*, Mutex*, Time)>(
      this, mutex, deadline);
}

ABSL_NAMESPACE_END
}  // namespace absl

// A completion queue has no lock where it need not wake anybody. What is before the end of an operation is before what
// its tag is given to: a message sent in the same process, or the reactor's constructor, is seen by the reaction.
struct grpc_cq_completion;

// What runs in here may be a reaction of ours, and is in sight.
void grpc_cq_end_op(grpc_completion_queue* queue, void* tag, absl::Status error,
                    void (*done)(void*, grpc_cq_completion*), void* done_argument, grpc_cq_completion* storage,
                    bool internal) {
  __tsan_release(tag);
  FunctionOf<"_Z14grpc_cq_end_opP21grpc_completion_queuePvN4absl7debian36StatusEPFvS1_P18grpc_cq_completionES1_S6_b",
             decltype(grpc_cq_end_op)>()(queue, tag, std::move(error), done, done_argument, storage, internal);
}

grpc_event grpc_completion_queue_next(grpc_completion_queue* queue, gpr_timespec deadline, void* reserved) {
  const grpc_event event =
      FunctionOf<"grpc_completion_queue_next", decltype(grpc_completion_queue_next)>()(queue, deadline, reserved);
  if (event.type == GRPC_OP_COMPLETE) __tsan_acquire(event.tag);
  return event;
}
