// "Did you mean …?" for misspelt keys, names and labels.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace graft {

/// The known word nearest to `word` by edit distance (a swap of neighbours is one edit), when it is near enough to be a
/// likely slip (at most a third of its length, at least one edit); otherwise an empty string.
std::string nearest(std::string_view word, const std::vector<std::string>& known);

/// " (did you mean 'x'?)" or " (known: a, b, c)", ready to append to a message.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& known);

}  // namespace graft
