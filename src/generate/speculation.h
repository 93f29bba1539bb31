// What a text proposes for its own next tokens, so that one pass of the model can verify several of them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace graft {

/// Tokens that can be proposed for one text in a pass.
constexpr std::int64_t kMostProposed = 15;

struct SpeculationOptions {
  std::int64_t tokens = 0;  ///< proposed for each text in a pass, at most; 0: none
  bool adapts = false;      ///< fewer where they are not accepted, none for a while where none is
};

/// "off", "auto" or a number of tokens in [1, kMostProposed]. Throws InvalidArgument for anything else.
SpeculationOptions speculation_of(const std::string& setting);

/// Prompt look-up (Saxena 2023): the tokens that followed where the last three of `text` stood before, else the last
/// two, …, `shortest` (at least 1); of several such places the latest. Where that runs into the end of `text` it goes
/// on with what it proposed, so that a short period is proposed over and over. `count` tokens, or none without such a
/// place.
std::vector<std::int64_t> look_up(std::span<const std::int64_t> text, std::int64_t count, std::int64_t shortest = 1);

/// How many tokens are proposed for one text: always the same number, or one that adapts. Then the number doubles while
/// every token is accepted, falls to one more than was accepted, and after passes that accepted none nothing is
/// proposed for 2, 4, … 32 passes, so that a text that repeats nothing costs little more than without.
class ProposalLength {
 public:
  explicit ProposalLength(const SpeculationOptions& options);

  /// Tokens to look up before the next pass; call once a pass.
  std::int64_t next();
  /// What became of the proposal; call where there was one.
  void verified(std::int64_t proposed, std::int64_t accepted);
  /// Tokens that a place has to share with the end of the text. A single one often does so by chance.
  std::int64_t shortest_match() const { return options_.adapts ? 2 : 1; }

 private:
  SpeculationOptions options_;
  std::int64_t length_;
  int misses_ = 0;            // in a row
  std::int64_t resting_ = 0;  // passes
};

}  // namespace graft
