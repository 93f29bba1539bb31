// A folder in which a script of the tree runs, with stand-ins for what it calls.
#pragma once

#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "base/file.h"
#include "report/test_folder.h"

namespace graft {

class StandIns : public TestFolder {
 protected:
  void copy(const std::string& script) const {
    std::filesystem::copy_file(std::filesystem::path(GRAFT_SOURCE_DIR) / script, folder() / script);
  }

  /// A script of the shell, below the folder.
  void stand_in(const std::filesystem::path& name, const std::string& script) const {
    const std::filesystem::path path = folder() / name;
    std::filesystem::create_directories(path.parent_path());
    write_file(path, "#!/bin/sh\n" + script + "\n");
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  }

  /// The arguments of each call of a stand-in that keeps a log.
  std::vector<std::string> calls(const std::string& log) const {
    std::istringstream lines(read_file(folder() / log));
    std::vector<std::string> found;
    for (std::string line; std::getline(lines, line);) found.push_back(line);
    return found;
  }
};

}  // namespace graft
