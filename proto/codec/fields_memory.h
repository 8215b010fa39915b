// Memory for one frame's fields on the stack: their dozens of small objects come and go for every small tensor.
#pragma once

#include <array>
#include <cstddef>

#include "google/protobuf/arena.h"

namespace quantd::wire {

// Holds what nearly all frames need, and takes more from the heap for the others.
class FieldsMemory {
 public:
  FieldsMemory() : arena_(first_.data(), first_.size()) {}

  // A message that lives as long as this.
  template <typename Message>
  Message& Make() {
    return *google::protobuf::Arena::CreateMessage<Message>(&arena_);
  }

 private:
  static constexpr size_t kFirstBytes = 4096;

  alignas(std::max_align_t) std::array<char, kFirstBytes> first_;
  google::protobuf::Arena arena_;
};

}  // namespace quantd::wire
