// Rows, tasks and recipes with mistakes: the line that is wrong is named, and no run folder is left.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "command.h"
#include "tiny_model.h"

namespace graft::e2e {
namespace {

namespace fs = std::filesystem;

class BadData : public ::testing::Test {
 protected:
  BadData() { write_model(folder_.path() / "model"); }

  Outcome tune(const std::string& data,
               std::vector<std::string> more = {"--text-column", "text", "--label-column", "label"}) const {
    std::vector<std::string> arguments = {"tune",    "--model", "model",   "--data", data,          "--output", "run",
                                          "--shots", "2",       "--steps", "1",      "--eval-rows", "2"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return graft(folder_.path(), arguments);
  }

  void expect_refused_data(const std::string& name, const std::string& text, int code,
                           const std::vector<std::string>& parts) const {
    folder_.file(name, text);
    expect_refused(tune(name), code, parts);
    EXPECT_FALSE(fs::exists(folder_.path() / "run"));
  }

  static std::string csv(const std::string& line_end = "\n") {
    std::string text = "text,label" + line_end;
    for (int row = 0; row < 8; ++row) text += "row " + std::to_string(row) + (row % 2 == 0 ? ",a" : ",b") + line_end;
    return text;
  }

  static std::string task(const std::string& more = "") {
    return "name: mine\nformat: csv\nsplits: {pool: rows.csv}\nlabel: label\nlabels: [a, b]\n"
           "templates:\n  - prompt: \"{text}\\nLabel:\"\n" +
           more;
  }

  Folder folder_;
};

TEST_F(BadData, ByteOrderMarkAndWindowsLineEndsAreFine) {
  folder_.file("rows.csv", "\xEF\xBB\xBF" + csv("\r\n"));
  const Outcome tuned = tune("rows.csv");
  EXPECT_EQ(tuned.code, 0) << tuned.err;
  EXPECT_NE(tuned.err.find("4 training examples, 2 held out"), std::string::npos) << tuned.err;
}

TEST_F(BadData, APathNeedNotBeUtf8) {
  folder_.file("caf\xE9.csv", csv());
  const Outcome tuned = tune("caf\xE9.csv");
  EXPECT_EQ(tuned.code, 0) << tuned.err;
  EXPECT_TRUE(fs::exists(folder_.path() / "run/adapter/adapter_model.safetensors"));
  EXPECT_TRUE(fs::exists(folder_.path() / "run/report.html"));
}

TEST_F(BadData, NorNeedThoseOfModelAndRun) {
  const std::string model = "mod\xE8le", data = "caf\xE9.csv", run = "sor\xEE";
  fs::rename(folder_.path() / "model", folder_.path() / model);
  folder_.file(data, csv());
  const auto succeeds = [&](const std::vector<std::string>& arguments) {
    const Outcome end = graft(folder_.path(), arguments);
    EXPECT_EQ(end.code, 0) << arguments.front() << ": " << end.err;
    return end.out;
  };
  succeeds({"tune", "--model", model, "--data", data, "--output", run, "--text-column", "text", "--label-column",
            "label", "--shots", "2", "--steps", "1", "--eval-rows", "2"});
  // Its config.yaml has the bytes, so that the run is found again by them.
  const auto verified = nlohmann::json::parse(succeeds({"verify", "--run", run, "--json"}));
  EXPECT_EQ(verified.at("model"), "mod\xEF\xBF\xBDle");
  succeeds({"predict", "--run", run, "--data", data, "--output", "answers.jsonl"});
  for (const auto& line : lines_of(folder_.path() / "answers.jsonl"))
    EXPECT_NE(nlohmann::json::parse(line).at("row").get<std::string>().find("caf\xEF\xBF\xBD.csv:"), std::string::npos);
  const auto inspected = nlohmann::json::parse(succeeds({"inspect", run + "/adapter", "--json"}));
  EXPECT_NE(inspected.dump().find("caf\xEF\xBF\xBD.csv"), std::string::npos) << "the recipe of the manifest";
  EXPECT_NE(succeeds({"runs", "list", "."}).find("sor"), std::string::npos);
  EXPECT_EQ(read_file(folder_.path() / run / "report.html").find("\xE9.csv"), std::string::npos);
}

TEST_F(BadData, AMissingColumn) {
  folder_.file("rows.csv", csv());
  expect_refused(tune("rows.csv", {"--text-column", "txt", "--label-column", "label"}), 2,
                 {"rows.csv:1: has no column 'txt'; it has label, text (did you mean 'text'?)"});
  expect_refused(tune("rows.csv", {"--text-column", "text", "--label-column", "class"}), 2,
                 {"rows.csv:1: has no column 'class'; it has label, text"});
  EXPECT_FALSE(fs::exists(folder_.path() / "run"));
}

TEST_F(BadData, AnUnknownLabel) {
  folder_.file("rows.csv", csv() + "more,aa\n");
  folder_.file("task.yaml", task());
  expect_refused(tune("rows.csv", {"--task", "task.yaml"}), 2, {"rows.csv:10: ", "'aa'", "did you mean 'a'?"});
}

TEST_F(BadData, RowsThatAreWrong) {
  expect_refused_data("gap.csv", csv() + "\nmore,a\n", 2, {"gap.csv:10: empty row; remove the blank line"});
  expect_refused_data("blank.csv", csv() + " ,a\n", 2, {"blank.csv:10: empty row: no text in text"});
  expect_refused_data("label.csv", csv() + "more,\n", 2, {"label.csv:10: the label 'label' is empty; fill it in"});
  expect_refused_data("fields.csv", csv() + "more\n", 2, {"fields.csv:10: has 1 fields, the header has 2"});
  expect_refused_data("quote.csv", csv() + "\"more,a\n", 4, {"quote.csv:10: the quote opened on this line"});
  expect_refused_data("none.csv", "text,label\n", 2, {"none.csv: has no rows"});
  expect_refused_data("empty.csv", "", 2, {"empty.csv:1: has no header line"});
  expect_refused_data("one.csv", "text,label\nx,a\ny,a\nz,a\n", 2, {"one.csv: 'label' holds 1 distinct label"});
  expect_refused_data("utf16.csv", std::string("\xFF\xFEt\0e\0", 6), 2,
                      {"utf16.csv: is UTF-16 text; save it as UTF-8"});
}

TEST_F(BadData, JsonLinesThatAreWrong) {
  const std::string good = "{\"text\": \"x\", \"label\": \"a\"}\n{\"text\": \"y\", \"label\": \"b\"}\n";
  expect_refused_data("cut.jsonl", good + "{\"text\": \"z\n", 4, {"cut.jsonl:3: is not valid JSON"});
  expect_refused_data("list.jsonl", good + "[1, 2]\n", 4, {"list.jsonl:3: must be a JSON object"});
  expect_refused_data("field.jsonl", good + "{\"label\": \"a\"}\n", 2, {"field.jsonl:3: has no field 'text'"});
  expect_refused_data("control.jsonl", good + "{\"text\": \"a\nb\"}\n", 4, {"control.jsonl:3: is not valid JSON"});
  expect_refused_data("deep.jsonl", good + "{\"text\": " + std::string(100000, '[') + "\n", 2,
                      {"deep.jsonl:3: is nested deeper"});
}

TEST_F(BadData, AHugeLineIsCutToTheContextAndInvalidBytesAreReplaced) {
  std::string rows;
  for (int row = 0; row < 6; ++row) {
    rows += nlohmann::json{{"text", std::string(3'000'000, static_cast<char>('a' + row))},
                           {"label", row % 2 == 0 ? "a" : "b"}}
                .dump() +
            "\n";
  }
  rows.insert(rows.find("aaa"), "\xff\xfe\xc3\x28");
  folder_.file("huge.jsonl", rows);
  const Outcome tuned = tune("huge.jsonl");
  EXPECT_EQ(tuned.code, 0) << tuned.err;
  EXPECT_LT(tuned.peak_bytes, 1LL << 30);
  EXPECT_NE(tuned.err.find("6 of 6 prompts are too long and lost their beginning"), std::string::npos) << tuned.err;
  EXPECT_NE(tuned.err.find("huge.jsonl: 1 of 6 rows hold bytes that are not UTF-8, the first on line 1"),
            std::string::npos)
      << tuned.err;
}

TEST_F(BadData, APromptIsCutWhereTheUserSays) {
  folder_.file("rows.csv", csv());
  const std::vector<std::string> columns = {"--text-column", "text", "--label-column", "label"};
  EXPECT_EQ(tune("rows.csv", columns).err.find("too long"), std::string::npos);
  auto more = columns;
  more.insert(more.end(), {"--set", "data.max_prompt_tokens=12"});
  fs::remove_all(folder_.path() / "run");
  const Outcome cut = tune("rows.csv", more);
  EXPECT_EQ(cut.code, 0) << cut.err;
  EXPECT_NE(cut.err.find("6 of 6 prompts are too long"), std::string::npos) << cut.err;
}

// Prompts of 13 tokens and choices of 2, in a context of 128.
TEST_F(BadData, APromptIsCutWhereVirtualTokensTakeItsPlace) {
  folder_.file("rows.csv", csv());
  for (const int length : {112, 114}) {
    fs::remove_all(folder_.path() / "run");
    const Outcome tuned =
        tune("rows.csv", {"--text-column", "text", "--label-column", "label", "--method", "prompt_tuning", "--set",
                          "method.options.length=" + std::to_string(length)});
    EXPECT_EQ(tuned.code, 0) << tuned.err;
    EXPECT_EQ(tuned.err.find("6 of 6 prompts are too long") != std::string::npos, length > 113) << tuned.err;
  }
  const Outcome replayed = graft(folder_.path(), {"verify", "--run", "run"});
  EXPECT_EQ(replayed.code, 0) << replayed.out << replayed.err;
  EXPECT_NE(replayed.err.find("prompts are too long"), std::string::npos) << replayed.err;
}

TEST_F(BadData, APrefixLongerThanTheContextIsRefused) {
  folder_.file("rows.csv", csv());
  for (const char* method : {"prefix_tuning", "prompt_tuning"}) {
    expect_refused(tune("rows.csv", {"--text-column", "text", "--label-column", "label", "--method", method, "--set",
                                     "method.options.length=128"}),
                   2, {"method.options.length: 128 virtual tokens leave no room for a text in the 128 positions"});
  }
  EXPECT_FALSE(fs::exists(folder_.path() / "run"));
}

TEST_F(BadData, DataThatIsSomethingElse) {
  folder_.file("notes.doc", "text");
  fs::create_directories(folder_.path() / "none");
  expect_refused(tune("absent.csv"), 3, {"absent.csv: no such file or folder"});
  expect_refused(tune("notes.doc"), 2, {"notes.doc: cannot tell the format from '.doc'"});
  expect_refused(tune("none"), 3, {"none: has no subfolders; make one for each class"});
  expect_refused(tune("model/model.safetensors"), 2, {"model.safetensors: cannot tell the format"});
  fs::copy_file(folder_.path() / "model/model.safetensors", folder_.path() / "weights.csv");
  expect_refused(tune("weights.csv"), 2, {"weights.csv: is not text"});
  folder_.file("task.yaml", task());
  expect_refused(tune("none", {"--task", "task.yaml"}), 3, {"none: has no file 'rows.csv'"});
  fs::create_symlink("/dev/zero", folder_.path() / "endless.csv");
  expect_refused(tune("endless.csv"), 6, {"endless.csv: is a device or a pipe, a file was expected"});
  EXPECT_FALSE(fs::exists(folder_.path() / "run"));
}

// The names of its subfolders are the labels.
TEST_F(BadData, AFolderOfTextsByClassNeedsNoColumns) {
  for (const char* label : {"sport", "tech"})
    for (const char* name : {"1", "2", "3"})
      folder_.file(std::string("articles/") + label + "/" + name + ".txt", std::string("of ") + label + name);
  const Outcome tuned = tune("articles/", {});
  EXPECT_EQ(tuned.code, 0) << tuned.err;
  EXPECT_NE(tuned.err.find("task: articles, 4 training examples, 2 held out"), std::string::npos) << tuned.err;
}

TEST_F(BadData, AFolderOfTablesIsNamedFileByFile) {
  folder_.file("tables/a.csv", csv());
  expect_refused(tune("tables"), 3, {"tables: has no subfolders", "name the files, e.g. 'tables/*.csv'"});
  EXPECT_FALSE(fs::exists(folder_.path() / "run"));
  EXPECT_EQ(tune("tables/*.csv").code, 0);
}

TEST_F(BadData, ColumnsThatDoNotGoTogether) {
  folder_.file("rows.csv", csv());
  folder_.file("task.yaml", task());
  const auto refused = [&](const std::vector<std::string>& more, const std::vector<std::string>& parts) {
    expect_refused(tune("rows.csv", more), 2, parts);
    EXPECT_FALSE(fs::exists(folder_.path() / "run"));
  };
  refused({"--task", "task.yaml", "--text-column", "nonsense"}, {"--text-column: stands beside the task task.yaml"});
  refused({"--task", "task.yaml", "--target-column", "text"}, {"--target-column: stands beside the task task.yaml"});
  refused({"--text-column", "text", "--label-column", "label", "--prompt-column", "text"},
          {"--prompt-column: stands beside --text-column", "leave one pair out"});
  refused({"--text-column", "text"}, {"--label-column: is missing", "--text-column 'text'"});
  refused({"--target-column", "text"}, {"--prompt-column: is missing", "--target-column 'text'"});
  refused({}, {"--task: name a task"});
}

TEST_F(BadData, ATaskWithAMistake) {
  folder_.file("rows.csv", csv());
  const auto refused = [&](const std::string& yaml, int code, const std::vector<std::string>& parts) {
    folder_.file("task.yaml", yaml);
    expect_refused(tune("rows.csv", {"--task", "task.yaml"}), code, parts);
  };
  refused(task("metric: [accuracy]\n"), 2, {"task.yaml:8: unknown key 'metric'", "did you mean 'metrics'?"});
  refused(task("metrics: [acuracy]\n"), 2, {"task.yaml:8: unknown metric 'acuracy' (did you mean 'accuracy'?)"});
  refused(task("label: x\n"), 2, {"task.yaml:8: the key 'label' stands here a second time"});
  refused(task("a: [b\n"), 2, {"task.yaml:", "is not valid YAML"});
  refused(task("a: &x [*x, *x]\n"), 2, {"task.yaml:8: ", "not supported"});
  refused("", 2, {"task.yaml"});
  refused("name: mine\nformat: csv\nsplits: {pool: ../rows.csv}\n", 2, {"task.yaml:3: ", "inside the data folder"});
  expect_refused(tune("rows.csv", {"--task", "bbc_nws"}), 3, {"bbc_nws: ", "did you mean 'bbc_news'?"});
  EXPECT_FALSE(fs::exists(folder_.path() / "run"));
}

TEST_F(BadData, ATaskWhoseRowsOrChoicesDoNotFit) {
  folder_.file("rows.csv", csv());
  const auto refused = [&](const std::string& prompt_and_choices, const std::vector<std::string>& parts) {
    folder_.file("task.yaml",
                 "name: mine\nformat: csv\nsplits: {pool: rows.csv}\nlabel: label\nlabels: [a, b]\n"
                 "templates:\n  - {name: first, " +
                     prompt_and_choices + "}\n");
    expect_refused(tune("rows.csv", {"--task", "task.yaml"}), 2, parts);
    EXPECT_FALSE(fs::exists(folder_.path() / "run"));
  };
  refused("prompt: \"{txt} Label:\"", {"rows.csv:", "'txt'", "did you mean 'text'"});
  refused("prompt: \"{text} Label:\", choices: [\" yes\", \"\"]", {"choice 1 is empty"});
  refused("prompt: \"{text} Label:\", choices: [\" yes\", \" yes\"]", {"rows.csv:", "the same tokens"});
}

TEST_F(BadData, ARecipeWithAMistake) {
  folder_.file("rows.csv", csv());
  folder_.file("recipe.yaml", "optimiser: {lr: 1e-3}\n");
  const auto refused = [&](const std::vector<std::string>& more, int code, const std::vector<std::string>& parts) {
    std::vector<std::string> arguments = {"--text-column", "text", "--label-column", "label"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    expect_refused(tune("rows.csv", arguments), code, parts);
    EXPECT_FALSE(fs::exists(folder_.path() / "run"));
  };
  refused({"--recipe", "recipe.yaml"}, 2, {"recipe.yaml:1: unknown setting 'optimiser.lr'", "'optimizer.lr'"});
  refused({"--recipe", "tfew-gpu"}, 3, {"tfew-gpu: ", "did you mean 'tfew-cpu'?"});
  refused({"--set", "train.stepz=3"}, 2, {"unknown setting 'train.stepz' (did you mean 'train.steps'?)"});
  refused({"--set", "optimizer.lr=nan"}, 2, {"--set optimizer.lr=nan: 'optimizer.lr' must be a number in (0, 10]"});
  refused({"--set", "train.steps"}, 2, {"--set train.steps: must be key=value"});
  refused({"--method", "lara"}, 2, {"unknown method 'lara' (did you mean 'lora'?)"});
  refused({"--method", "lora", "--set", "method.options.rnak=4"}, 2,
          {"lora has no option 'rnak' (did you mean 'rank'?)"});
  refused({"--method", "lora", "--set", "method.options.rank=0"}, 2, {"method.options.rank: 0 is not an integer"});
  refused({"--method", "lora", "--set", "method.options.rank=f\xFCnf"}, 2,
          {"method.options.rank: \"f", "is not an integer"});
  refused({"--method", "lora", "--set", "method.options.roles=qkv"}, 2, {"this architecture has no role 'qkv'"});
  refused({"--method", "ia3", "--set", "method.options.roles=dwn"}, 2, {"'dwn'", "did you mean 'down'?"});
  refused({"--method", "prompt_tuning+prefix_tuning"}, 2, {"both put virtual tokens in front of a text"});
}

// Told before the base model is asked anything.
TEST_F(BadData, ARecipeWithoutAnyLoss) {
  folder_.file("rows.csv", csv());
  const auto with = [&](const std::vector<std::string>& settings) {
    std::vector<std::string> arguments = {"--text-column", "text", "--label-column", "label"};
    for (const auto& setting : settings) arguments.insert(arguments.end(), {"--set", setting});
    return tune("rows.csv", arguments);
  };
  const std::vector<std::string> off = {"objective.lm=false", "objective.unlikelihood=false",
                                        "objective.length_norm=false"};
  const std::vector<std::string> weightless = {"objective.lm_weight=0", "objective.unlikelihood_weight=0",
                                               "objective.length_norm_weight=0"};
  const std::vector<std::string> mixed = {off[0], weightless[1], off[2]};
  for (const auto& settings : {off, weightless, mixed}) {
    const Outcome end = with(settings);
    expect_refused(end, 2,
                   {"objective.lm, objective.unlikelihood", "nothing to learn from", "--set objective.lm=true"});
    EXPECT_EQ(end.err.find("evaluate"), std::string::npos) << end.err;
    EXPECT_FALSE(fs::exists(folder_.path() / "run"));
  }
  EXPECT_EQ(with({off[0], off[1]}).code, 0) << "one loss is enough";
}

}  // namespace
}  // namespace graft::e2e
