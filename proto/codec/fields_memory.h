// Memory for one frame's fields on the stack: their dozens of small objects come and go for every small tensor.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <vector>

#include "google/protobuf/arena.h"

namespace quantd::wire {

#if defined(__SANITIZE_THREAD__)
// For ThreadSanitizer protobuf's headers lay out maps in another way than a library that was built without it, and such
// a library then takes a map's arena for something that it has to delete. So there is no arena.
class FieldsMemory {
 public:
  template <typename Message>
  Message& Make() {
    auto message = std::make_shared<Message>();
    messages_.push_back(message);
    return *message;
  }

 private:
  std::vector<std::shared_ptr<void>> messages_;
};
#else
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
#endif

}  // namespace quantd::wire
