// What is fuzzed: a function of any bytes. Compiled with libFuzzer (`./run fuzz`) and, over the kept corpus, with every
// test run.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace quantd::testing {

// Empty, or what went wrong for a person to read. Crashes, leaks and sanitizer reports speak for themselves.
using FuzzTarget = std::string (*)(std::span<const uint8_t> input);

// Frames of the bulk methods: the codec must take and refuse what the generated parser does, make the same message of
// it, and encode it as the generated code does. The first byte chooses the message, the second how the rest is cut.
std::string FuzzFrame(std::span<const uint8_t> input);

// Headers of safetensors files: read or refused, and what is read lies within the file.
std::string FuzzSafetensors(std::span<const uint8_t> input);

}  // namespace quantd::testing
