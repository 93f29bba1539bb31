// Few-shot sampling: which rows train, which are held out, reproducible from a seed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/task.h"

namespace graft {

/// `train` and `held_out` are both in random order, so that a prefix of either is a fair sample. `notices` are
/// sentences for the user.
struct FewShot {
  std::vector<Row> train;
  std::vector<Row> held_out;
  std::vector<std::string> notices;
};

/// `shots_per_class` rows of each label for training (0: all rows), everything else held out; where the task has no
/// classes, that many in total, with a notice. Rows whose used fields
/// repeat an earlier row's (whitespace aside) are left out first, with a notice, so that no held-out row was trained
/// on; of a generation task, held-out rows whose prompt trains are left out too. The same rows in the same order and
/// the same seed give the same sample on every machine. Throws InvalidArgument: a row without label, a class with too
/// few rows, a negative count.
FewShot sample_few_shot(const std::vector<Row>& rows, const Task& task, std::int64_t shots_per_class,
                        std::uint64_t seed);

/// The same with `total` rows drawn without regard to their labels, as the T-Few paper does. Throws InvalidArgument.
FewShot sample_total(const std::vector<Row>& rows, const Task& task, std::int64_t total, std::uint64_t seed);

/// Which rows of a task a run uses. Empty held_out: validation, else test.
struct SplitChoice {
  std::string train = "train";
  std::string held_out;
  double held_out_share = 0;  ///< of one pool all of whose rows would train; below 1
  bool balanced = true;       ///< shots count the rows of each class; else of all together (sample_total)
};

/// Reads and samples what `graft tune` needs. One pool, a single file, or all files that a pattern ("rte/*.jsonl")
/// names: sample_few_shot of them (sample_total where they are not to be balanced); where all rows would train,
/// `held_out_share` of each class's is held out instead (of texts to write of the prompts), drawn by the seed, at least
/// one and in all at most 200 or one of each class. A class of fewer than five rows trains whole. A notice tells it,
/// and where there are too few rows. Files that are not UTF-8 have a notice (garbled_notices()). Otherwise `train` is
/// sampled from one split and `held_out` is another, without rows that train; of a generation task, without rows whose
/// prompt trains. Throws as read_split and sample_few_shot, and InvalidArgument for the same split twice.
FewShot few_shot_data(const Task& task, const std::filesystem::path& data, std::int64_t shots_per_class,
                      std::uint64_t seed, const SplitChoice& splits = {});

/// True where the rows of `data` are one pool for this task: whatever does not train is held out.
bool is_one_pool(const Task& task, const std::filesystem::path& data);

/// Where the demonstrations of in-context learning come from.
struct DemonstrationSource {
  std::filesystem::path file;  ///< rows of their own, in their order; empty: the data's
  std::int64_t per_class = 0;  ///< of the data, drawn as by sample_few_shot; 0: all that trains; of a pool four times
                               ///< `most`, so that draws differ, or `most` where that is over half of a class
  std::int64_t most = 0;       ///< that one prompt holds; 0: none are needed
};

/// Reads what `graft eval` needs: `train` are the rows to take demonstrations from (none where none are needed),
/// `held_out`, in random order, those that are asked, without rows that are in `train`. With per_class set, both are
/// those of few_shot_data, so that a run of `graft tune` with these shots and this seed trained on the one and held out
/// the other. Throws as few_shot_data.
FewShot evaluation_data(const Task& task, const std::filesystem::path& data, const DemonstrationSource& source,
                        std::uint64_t seed, const SplitChoice& splits = {});

/// Drops rows of a sample that have one text as two of their own choices in one of these templates, with a notice: no
/// score tells which of both is right. Data sets have a few of them, which must not stop a run; where every row is so,
/// the task is at fault, all stay, and tokenize() says which choices are alike. Throws as render.
void drop_alike_choices(FewShot& sample, const Task& task, const std::vector<std::size_t>& templates,
                        const Tokenizer& tokenizer);

/// SHA-256 of a row's field names and values.
std::string content_hash(const Row& row);

/// SHA-256 over the content hashes of the rows, sorted: the same for every order of the same rows.
std::string data_hash(const std::vector<Row>& rows);

}  // namespace graft
