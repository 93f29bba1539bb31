// What to say of rows that were not UTF-8.
#pragma once

#include <string>
#include <vector>

#include "data/task.h"

namespace graft {

/// A sentence for each file (of a folder of text files: for the folder) with rows that are Row::garbled: how many of
/// its rows, and the first of them. In the order of the files.
std::vector<std::string> garbled_notices(const std::vector<Row>& rows);

}  // namespace graft
