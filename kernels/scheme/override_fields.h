// Every override there is, as text: its name, its values, and the member of Scheme that it sets.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/scheme/scheme.h"

namespace quantd {

struct OverrideField {
  std::string_view name;
  std::vector<std::string> (*values)();    // all that some preset may take
  std::string (*get)(const Scheme&);       // empty: the scheme's value has no name
  void (*set)(Scheme&, std::string_view);  // ignores what is not among values()
  // Whether the member changes a byte of what this scheme makes.
  bool (*matters)(const Scheme&);
  std::string_view matters_when;  // for people, empty if always
};

// In the order in which people read them.
std::span<const OverrideField> AllOverrideFields();

// Null: there is none of that name.
const OverrideField* FindOverrideField(std::string_view name);

}  // namespace quantd
