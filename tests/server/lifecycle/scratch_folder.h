// A folder that is gone after the test.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <string>

namespace quantd::server {

class ScratchFolder {
 public:
  ScratchFolder() : path_(mkdtemp(template_)) {}
  ~ScratchFolder() { std::filesystem::remove_all(path_); }

  std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  char template_[23] = "/tmp/quantd_testXXXXXX";
  const std::string path_;
};

}  // namespace quantd::server
