#include "data/sampler.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "base/hash.h"
#include "base/rng.h"
#include "data/garbled.h"
#include "data/template.h"
#include "data/unicode.h"

namespace graft {
namespace {

// Streams of one seed; the classes take the ones from kClassStream on.
constexpr std::uint64_t kTrainStream = 0;
constexpr std::uint64_t kHeldOutStream = 1;
constexpr std::uint64_t kClassStream = 2;

constexpr std::int64_t kMostHeldOut = 200;   // tell a share of right answers within some points
constexpr std::int64_t kFewestToDivide = 5;  // of fewer rows of a class none can be spared

// A length before each part keeps ("ab", "c") apart from ("a", "bc").
std::string framed(const std::string& part) {
  return std::to_string(part.size()) + ":" + part;
}

std::string content_key(const Row& row, const Task& task, const std::vector<std::string>& used) {
  std::string key;
  for (const auto& field : used) {
    const auto found = row.fields.find(field);
    key += framed(found == row.fields.end() ? "" : collapse_whitespace(found->second));
  }
  // No template of a task file of lm-evaluation-harness names it: schemas of a pair differ in nothing else.
  const auto continuation = row.fields.find("continuation");
  if (task.documents != nullptr && continuation != row.fields.end())
    key += framed(collapse_whitespace(continuation->second));
  for (const auto& made : task.templates) {
    // The first choice is among `used`.
    for (std::size_t i = 1; !made.choices_from.empty(); ++i) {
      const auto found = row.fields.find(fmt::format("{}.{}", made.choices_from, i));
      if (found == row.fields.end()) break;
      key += framed(collapse_whitespace(found->second));
    }
  }
  return key;
}

std::vector<Row> without_repeats(const std::vector<Row>& rows, const Task& task, std::vector<std::string>& notices) {
  const auto used = used_fields(task);
  std::unordered_set<std::string> seen;
  std::vector<Row> unique;
  for (const auto& row : rows) {
    if (seen.insert(content_key(row, task, used)).second) unique.push_back(row);
  }
  if (unique.size() < rows.size()) {
    notices.push_back(fmt::format("{} of {} rows repeat the text of an earlier row and were left out",
                                  rows.size() - unique.size(), rows.size()));
  }
  return unique;
}

// Two splits may be of one file, of which one notice is enough.
std::vector<Row> noted(std::vector<Row> rows, std::vector<std::string>& notices) {
  for (auto& notice : garbled_notices(rows)) {
    if (std::find(notices.begin(), notices.end(), notice) == notices.end()) notices.push_back(std::move(notice));
  }
  return rows;
}

FewShot behind_notices(const std::vector<std::string>& notices, FewShot sample) {
  sample.notices.insert(sample.notices.begin(), notices.begin(), notices.end());
  return sample;
}

std::int64_t known_label(const Task& task, const Row& row) {
  const std::int64_t label = label_of(task, row);
  if (label < 0)
    fail(Category::InvalidArgument, row.where, "has no label in '{}'; training rows need one", task.label_field);
  return label;
}

std::string label_name(const Task& task, std::int64_t label) {
  return task.labels.empty() ? std::to_string(label) : task.labels[static_cast<std::size_t>(label)];
}

std::vector<std::size_t> balanced_choice(const std::vector<Row>& rows, const Task& task, std::int64_t shots,
                                         std::uint64_t seed) {
  std::map<std::int64_t, std::vector<std::size_t>> classes;
  for (std::size_t label = 0; label < task.labels.size(); ++label) classes[static_cast<std::int64_t>(label)];
  for (std::size_t i = 0; i < rows.size(); ++i) classes[known_label(task, rows[i])].push_back(i);
  std::vector<std::size_t> chosen;
  for (auto& [label, members] : classes) {
    if (static_cast<std::int64_t>(members.size()) < shots) {
      fail(Category::InvalidArgument, "task " + task.name,
           "the class '{}' has {} distinct rows, {} were asked for; ask for fewer", label_name(task, label),
           members.size(), shots);
    }
    Rng rng(seed, kClassStream + static_cast<std::uint64_t>(label));
    rng.shuffle(members);
    chosen.insert(chosen.end(), members.begin(), members.begin() + shots);
  }
  return chosen;
}

void divide(const std::vector<Row>& rows, const std::vector<std::size_t>& chosen, std::uint64_t seed, FewShot& sample) {
  std::vector<bool> trains(rows.size(), false);
  for (const std::size_t index : chosen) trains[index] = true;
  for (std::size_t i = 0; i < rows.size(); ++i) (trains[i] ? sample.train : sample.held_out).push_back(rows[i]);
  Rng(seed, kTrainStream).shuffle(sample.train);
  Rng(seed, kHeldOutStream).shuffle(sample.held_out);
}

void check_count(const Task& task, std::int64_t count) {
  if (count < 0)
    fail(Category::InvalidArgument, "task " + task.name, "{} examples were asked for; give 0 (all) or more", count);
}

std::vector<std::size_t> everything(std::size_t count) {
  std::vector<std::size_t> all(count);
  for (std::size_t i = 0; i < count; ++i) all[i] = i;
  return all;
}

// A text to write is no part of what is told: a prompt that trained is known, whichever text is its reference.
void drop_trained(FewShot& sample, const Task& task) {
  const auto used = task.generates() ? prompt_fields(task) : used_fields(task);
  std::unordered_set<std::string> trained;
  for (const auto& row : sample.train) trained.insert(content_key(row, task, used));
  const std::size_t before = sample.held_out.size();
  std::erase_if(sample.held_out, [&](const Row& row) { return trained.count(content_key(row, task, used)) > 0; });
  if (sample.held_out.size() < before) {
    sample.notices.push_back(fmt::format("{} of {} held-out rows repeat {} and were left out",
                                         before - sample.held_out.size(), before,
                                         task.generates() ? "the prompt of a training row" : "a training row"));
  }
}

void refuse_too_many(const Task& task, std::int64_t label, std::int64_t rows, std::int64_t most) {
  if (rows >= most) return;
  const std::string has = task.has_classes()
                              ? fmt::format(
                                    "need as many rows of each class set aside, and the class '{}' has {}; ask for "
                                    "fewer, set fewer aside with --candidates",
                                    label_name(task, label), rows)
                              : fmt::format("were asked for, and there are {} rows; ask for fewer", rows);
  fail(Category::InvalidArgument, "--shots", "{} demonstrations {}, or bring others with --demonstrations-file", most,
       has);
}

// Of each class, or in all where there are none.
std::int64_t set_aside(const std::vector<Row>& rows, const Task& task, const DemonstrationSource& source) {
  std::map<std::int64_t, std::int64_t> sizes;
  const std::size_t classes = task.has_classes() ? task.labels.size() : 0;
  for (std::size_t label = 0; label < classes; ++label) sizes[static_cast<std::int64_t>(label)];
  for (const auto& row : rows) ++sizes[task.has_classes() ? known_label(task, row) : 0];
  for (const auto& [label, size] : sizes) refuse_too_many(task, label, size, source.most);
  const std::int64_t wanted = 4 * source.most;
  const bool fits =
      std::all_of(sizes.begin(), sizes.end(), [&](const auto& size) { return 2 * wanted <= size.second; });
  return fits ? wanted : source.most;
}

// How many of each class are held out; rows without classes are one. Of texts to write a row is a prompt with its
// texts.
std::map<std::int64_t, std::int64_t> held_out_counts(const std::vector<std::vector<Row>>& groups, const Task& task,
                                                     double share) {
  std::map<std::int64_t, std::int64_t> counts;
  for (const auto& group : groups) ++counts[task.has_classes() ? known_label(task, group.front()) : 0];
  const double part = std::min(share, static_cast<double>(kMostHeldOut) / static_cast<double>(groups.size()));
  for (auto& [label, count] : counts) {
    const auto some = static_cast<std::int64_t>(part * static_cast<double>(count));
    count = count < kFewestToDivide ? 0 : std::max<std::int64_t>(1, some);
  }
  return counts;
}

std::string told_share(const FewShot& sample, const Task& task, double share) {
  if (sample.held_out.empty()) {
    return fmt::format("there are too few rows to hold some out ({} {}), so every row trains",
                       task.has_classes() ? "every class has fewer than" : "fewer than", kFewestToDivide);
  }
  return fmt::format(
      "{} of {} rows are held out, so that the run can be scored (data.held_out_share={}): --set data.held_out_share=0 "
      "trains on all, --shots 8 on {}",
      sample.held_out.size(), sample.held_out.size() + sample.train.size(), share,
      task.has_classes() ? "8 of each class" : "8 of them");
}

// Of a sample all of whose rows train.
void hold_out_share(FewShot& sample, const Task& task, double share, std::uint64_t seed) {
  if (share <= 0) return;
  auto groups = prompt_groups(task, sample.train);  // in the order of the sample, which is random
  auto counts = held_out_counts(groups, task, share);
  sample.train.clear();
  for (auto& group : groups) {
    std::int64_t& left = counts[task.has_classes() ? known_label(task, group.front()) : 0];
    auto& side = left > 0 ? sample.held_out : sample.train;
    if (left > 0) --left;
    side.insert(side.end(), std::make_move_iterator(group.begin()), std::make_move_iterator(group.end()));
  }
  Rng(seed, kTrainStream).shuffle(sample.train);  // a prompt's texts stand together
  if (task.generates()) drop_trained(sample, task);
  sample.notices.push_back(told_share(sample, task, share));
}

FewShot sampled(const std::vector<Row>& rows, const Task& task, std::int64_t shots, std::uint64_t seed, bool balanced) {
  // Without classes the sample is of all rows anyway, which it says.
  if (balanced || !task.has_classes()) return sample_few_shot(rows, task, shots, seed);
  return sample_total(rows, task, shots, seed);
}

// Choices that differ from row to row.
bool has_own_choices(const PromptTemplate& made, const Task& task) {
  return !made.choices_from.empty() ||
         std::any_of(made.choices.begin(), made.choices.end(),
                     [&](const std::string& choice) { return !TextTemplate(choice, task.name).fields().empty(); });
}

bool has_alike_choices(const Example& example) {
  const std::set<std::string> distinct(example.choices.begin(), example.choices.end());
  return distinct.size() < example.choices.size();
}

// Empty where the task has none.
std::string held_out_split(const Task& task, const SplitChoice& splits) {
  if (splits.held_out == splits.train)
    fail(Category::InvalidArgument, "data.held_out_split", "'{}' is the split that trains; name another", splits.train);
  if (!splits.held_out.empty()) return splits.held_out;
  for (const char* split : {"validation", "test"}) {
    if (split != splits.train && task.splits.count(split) > 0) return split;
  }
  return "";
}

}  // namespace

FewShot sample_few_shot(const std::vector<Row>& rows, const Task& task, std::int64_t shots_per_class,
                        std::uint64_t seed) {
  check_count(task, shots_per_class);
  if (!task.has_classes() && shots_per_class > 0) {
    FewShot sample = sample_total(rows, task, shots_per_class, seed);
    if (task.generates()) return sample;
    sample.notices.push_back(fmt::format(
        "the choices differ from row to row, so there are no classes: {} rows in total train", shots_per_class));
    return sample;
  }
  FewShot sample;
  const auto unique = without_repeats(rows, task, sample.notices);
  divide(unique,
         shots_per_class == 0 ? everything(unique.size()) : balanced_choice(unique, task, shots_per_class, seed), seed,
         sample);
  return sample;
}

FewShot sample_total(const std::vector<Row>& rows, const Task& task, std::int64_t total, std::uint64_t seed) {
  check_count(task, total);
  FewShot sample;
  const auto unique = without_repeats(rows, task, sample.notices);
  auto chosen = everything(unique.size());
  if (total > static_cast<std::int64_t>(unique.size())) {
    fail(Category::InvalidArgument, "task " + task.name, "there are {} distinct rows, {} were asked for; ask for fewer",
         unique.size(), total);
  }
  Rng(seed, kClassStream).shuffle(chosen);
  if (total > 0) chosen.resize(static_cast<std::size_t>(total));
  divide(unique, chosen, seed, sample);
  if (task.generates()) drop_trained(sample, task);
  return sample;
}

FewShot few_shot_data(const Task& task, const std::filesystem::path& data, std::int64_t shots_per_class,
                      std::uint64_t seed, const SplitChoice& splits) {
  std::vector<std::string> notices;
  if (is_one_pool(task, data)) {
    const auto rows = noted(read_split(task, data, "pool"), notices);
    FewShot sample = behind_notices(notices, sampled(rows, task, shots_per_class, seed, splits.balanced));
    if (shots_per_class == 0) hold_out_share(sample, task, splits.held_out_share, seed);
    return sample;
  }
  const std::string held_out = held_out_split(task, splits);
  const auto rows = noted(read_split(task, data, splits.train, true), notices);
  FewShot sample = behind_notices(notices, sampled(rows, task, shots_per_class, seed, splits.balanced));
  if (held_out.empty()) return sample;
  sample.held_out = noted(read_split(task, data, held_out), sample.notices);
  drop_trained(sample, task);
  Rng(seed, kHeldOutStream).shuffle(sample.held_out);
  return sample;
}

bool is_one_pool(const Task& task, const std::filesystem::path& data) {
  std::error_code ignored;
  return task.is_pool() || !std::filesystem::is_directory(data, ignored);
}

FewShot evaluation_data(const Task& task, const std::filesystem::path& data, const DemonstrationSource& source,
                        std::uint64_t seed, const SplitChoice& splits) {
  const bool pool = is_one_pool(task, data);
  if (source.file.empty() && (source.per_class > 0 || (source.most > 0 && !pool)))
    return few_shot_data(task, data, source.per_class, seed, splits);
  if (source.file.empty() && source.most > 0) {
    std::vector<std::string> notices;
    const auto rows = without_repeats(noted(read_split(task, data, "pool"), notices), task, notices);
    return behind_notices(notices, sample_few_shot(rows, task, set_aside(rows, task, source), seed));
  }
  FewShot sample;
  if (!source.file.empty()) {
    const std::string split = task.is_pool() ? "pool" : splits.train;
    sample.train =
        without_repeats(noted(read_split(task, source.file, split, true), sample.notices), task, sample.notices);
  }
  const std::string split = pool ? "pool" : held_out_split(task, splits);
  if (!split.empty()) sample.held_out = noted(read_split(task, data, split), sample.notices);
  if (pool) sample.held_out = without_repeats(sample.held_out, task, sample.notices);
  drop_trained(sample, task);
  Rng(seed, kHeldOutStream).shuffle(sample.held_out);
  return sample;
}

void drop_alike_choices(FewShot& sample, const Task& task, const std::vector<std::size_t>& templates,
                        const Tokenizer& tokenizer) {
  std::vector<std::size_t> own;
  std::copy_if(templates.begin(), templates.end(), std::back_inserter(own),
               [&](std::size_t index) { return has_own_choices(task.templates[index], task); });
  const auto alike = [&](const Row& row) {
    return std::any_of(own.begin(), own.end(),
                       [&](std::size_t index) { return has_alike_choices(render(task, row, index, tokenizer)); });
  };
  const auto drop = [&](std::vector<Row>& rows, const char* which) {
    std::vector<Row> kept;
    std::copy_if(rows.begin(), rows.end(), std::back_inserter(kept), [&](const Row& row) { return !alike(row); });
    if (kept.empty() || kept.size() == rows.size()) return;
    sample.notices.push_back(
        fmt::format("{} of {} {} have the same choice twice, so that no score tells which is right, and were left out",
                    rows.size() - kept.size(), rows.size(), which));
    rows = std::move(kept);
  };
  if (own.empty()) return;
  drop(sample.train, "training rows");
  drop(sample.held_out, "held-out rows");
}

std::string content_hash(const Row& row) {
  std::string content;
  for (const auto& [name, value] : row.fields) content += framed(name) + framed(value);
  return sha256(content);
}

std::string data_hash(const std::vector<Row>& rows) {
  std::vector<std::string> hashes;
  for (const auto& row : rows) hashes.push_back(content_hash(row));
  std::sort(hashes.begin(), hashes.end());
  Sha256 all;
  for (const auto& hash : hashes) all.update(hash);
  return all.finish();
}

}  // namespace graft
