// From a scaled value to the code of an element, and from the code to its value.
#pragma once

#include <cstdint>
#include <string>

namespace quantd::testing {

int BitsOf(const std::string& element);
bool IsInteger(const std::string& element);     // int2 … int8
bool IsNormalized(const std::string& element);  // levels from -1 to 1
bool HasNan(const std::string& element);
// The magnitude that an absmax is scaled to. An integer element has 2^(bits-1) - 1, a normalized one 1.
float LargestOf(const std::string& element);

// Of an element that is not an integer. Floats: the nearest value, of two equally near the one with the even code, and
// the sign bit of `y`, also of a zero. Beyond the largest value: that one if `saturate`, else what follows it in the
// format. NaN: the element's own, or code 0.
uint32_t EncodeElement(const std::string& element, float y, bool saturate);
float DecodeElement(const std::string& element, uint32_t code);

// The nearest integer from `low` to `high`, of two equally near the even one; NaN is 0.
int RoundToInteger(float y, int low, int high);
// Two's complement in as many bits as the element has.
uint32_t EncodeInteger(const std::string& element, int value);
int DecodeInteger(const std::string& element, uint32_t code);

}  // namespace quantd::testing
