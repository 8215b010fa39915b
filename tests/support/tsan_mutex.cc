// Tells ThreadSanitizer what absl::Mutex orders. Debian's Abseil is not instrumented, so every variable under such a
// mutex would look like a race. Linked into the programs of the tsan preset only: these definitions come before the
// library's, and pass on to it.
#include <dlfcn.h>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

extern "C" void __tsan_acquire(void* address);
extern "C" void __tsan_release(void* address);
extern "C" void AnnotateIgnoreReadsBegin(const char* file, int line);
extern "C" void AnnotateIgnoreReadsEnd(const char* file, int line);
extern "C" void AnnotateIgnoreWritesBegin(const char* file, int line);
extern "C" void AnnotateIgnoreWritesEnd(const char* file, int line);

namespace {

// The library's own function of that mangled name.
template <class Function>
Function* Next(const char* symbol) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, symbol));
}

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

}  // namespace

namespace absl {
ABSL_NAMESPACE_BEGIN

void Mutex::Lock() {
  static auto* const next = Next<void(Mutex*)>("_ZN4absl7debian35Mutex4LockEv");
  {
    const UnseenAccesses unseen;
    next(this);
  }
  __tsan_acquire(this);
}

bool Mutex::TryLock() {
  static auto* const next = Next<bool(Mutex*)>("_ZN4absl7debian35Mutex7TryLockEv");
  const bool locked = next(this);
  if (locked) __tsan_acquire(this);
  return locked;
}

void Mutex::Unlock() {
  static auto* const next = Next<void(Mutex*)>("_ZN4absl7debian35Mutex6UnlockEv");
  __tsan_release(this);
  {
    const UnseenAccesses unseen;
    next(this);
  }
}

void Mutex::ReaderLock() {
  static auto* const next = Next<void(Mutex*)>("_ZN4absl7debian35Mutex10ReaderLockEv");
  {
    const UnseenAccesses unseen;
    next(this);
  }
  __tsan_acquire(this);
}

void Mutex::ReaderUnlock() {
  static auto* const next = Next<void(Mutex*)>("_ZN4absl7debian35Mutex12ReaderUnlockEv");
  __tsan_release(this);
  {
    const UnseenAccesses unseen;
    next(this);
  }
}

void Mutex::LockWhen(const Condition& condition) {
  static auto* const next = Next<void(Mutex*, const Condition&)>("_ZN4absl7debian35Mutex8LockWhenERKNS0_9ConditionE");
  {
    const UnseenAccesses unseen;
    next(this, condition);
  }
  __tsan_acquire(this);
}

void Mutex::Await(const Condition& condition) {
  static auto* const next = Next<void(Mutex*, const Condition&)>("_ZN4absl7debian35Mutex5AwaitERKNS0_9ConditionE");
  __tsan_release(this);
  {
    const UnseenAccesses unseen;
    next(this, condition);
  }
  __tsan_acquire(this);
}

bool Mutex::AwaitWithTimeout(const Condition& condition, Duration timeout) {
  static auto* const next = Next<bool(Mutex*, const Condition&, Duration)>(
      "_ZN4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE");
  __tsan_release(this);
  bool holds = false;
  {
    const UnseenAccesses unseen;
    holds = next(this, condition, timeout);
  }
  __tsan_acquire(this);
  return holds;
}

ABSL_NAMESPACE_END
}  // namespace absl
