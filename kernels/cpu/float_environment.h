// The floating-point modes that the kernels' bytes depend on.
#pragma once

#include <cfenv>

namespace quantd {

// Rounding to nearest and subnormals kept while it lives; the modes and flags of before when it dies. Any library in
// the process may have changed them: linking one built with -ffast-math is enough.
class ScopedFloatEnvironment {
 public:
  ScopedFloatEnvironment() {
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~ScopedFloatEnvironment() { std::fesetenv(&saved_); }
  ScopedFloatEnvironment(const ScopedFloatEnvironment&) = delete;
  ScopedFloatEnvironment& operator=(const ScopedFloatEnvironment&) = delete;

 private:
  std::fenv_t saved_;
};

}  // namespace quantd
