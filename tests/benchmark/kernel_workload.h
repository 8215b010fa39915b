// A preset's work on one tensor in memory, and the shaped copy of it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/backend/backend.h"
#include "kernels/scheme/batch_layout.h"
#include "tests/benchmark/shaped_copy.h"

namespace quantd::testing {

class KernelWorkload {
 public:
  // Normally distributed values, or codes made of them; statistics of the whole tensor are given,
  // so that there is one pass. Throws std::runtime_error if it cannot be.
  KernelWorkload(const std::string& target, const std::string& preset, Direction direction, DataType dtype,
                 uint64_t value_bytes);

  void RunKernel();
  void RunCopy();
  // What the kernel wrote of the first units is what the scalar kernels write. After RunKernel.
  bool Verify() const;

  uint64_t value_bytes() const { return plan_.element_count * SizeBytes(plan_.values_dtype); }

 private:
  struct FreeMemory {
    void operator()(std::byte* memory) const;
  };
  struct Memory {
    explicit Memory(const Plan& plan);
    std::byte* Segment(const Plan& plan, std::string_view name) const;  // null if there is none

    BatchLayout layout;
    std::unique_ptr<std::byte, FreeMemory> bytes;
  };

  static void Run(Backend& backend, const Plan& plan, const Memory& memory, uint64_t units,
                  const std::vector<std::vector<std::byte>>& whole_inputs);
  void FillValues(std::byte* values) const;
  void FillCodes(const Plan& quantize);

  std::unique_ptr<Backend> backend_;
  Plan plan_;
  Memory memory_;
  CopyShape shape_{};
  CopyBuffers copy_{};
  std::vector<std::vector<std::byte>> whole_inputs_;  // in the order of Pass::inputs; empty where it is per unit
  std::vector<std::byte> scale_room_;                 // the copy's own: its scales are rounded up
};

}  // namespace quantd::testing
