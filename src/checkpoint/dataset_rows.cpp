#include "checkpoint/dataset_rows.h"

#include <algorithm>
#include <cctype>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "base/json_text.h"
#include "base/progress.h"
#include "checkpoint/partial_file.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
// Keeps the fields of a row in their order.
using RowsJson = nlohmann::ordered_json;

constexpr int kRowsAttempts = 6;
constexpr std::int64_t kMostRows = 100;  // of one answer, which is the server's limit
constexpr int kLongestPause = 300;       // seconds

// What a server says is shown in a terminal: one line of it, without control characters.
std::string one_line(const std::string& said) {
  constexpr std::size_t kMostBytes = 300;
  std::string line;
  for (const char c : said) {
    const auto byte = static_cast<unsigned char>(c);
    const bool begins_character = (byte & 0xC0u) != 0x80u;
    if (line.size() >= kMostBytes && begins_character) return line + "…";
    line += byte < 0x20 || byte == 0x7F ? ' ' : c;
  }
  return line;
}

std::string complaint_of(const HttpReply& reply) {
  const RowsJson answer = RowsJson::parse(reply.body, nullptr, false);
  if (!answer.is_object() || !answer.contains("error") || !answer["error"].is_string()) return "no reason is given";
  return one_line(answer["error"].get<std::string>());
}

// 0: the connection broke off.
bool is_worth_another_try(int status) {
  return status == 0 || status == 429 || status == 500 || status == 502 || status == 503 || status == 504;
}

int pause_before(int attempt, const HttpReply& reply) {
  const auto asked = reply.headers.find("retry-after");
  if (asked == reply.headers.end() || asked->second.empty() || asked->second.size() > 6 ||
      !std::all_of(asked->second.begin(), asked->second.end(), [](unsigned char c) { return std::isdigit(c) != 0; })) {
    return 1 << attempt;
  }
  return std::min(kLongestPause, std::stoi(asked->second));
}

void wait_for(int seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while (std::chrono::steady_clock::now() < end) {
    stop_if_interrupted("the download");
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

// Names become those of files.
bool is_file_name(const std::string& name) {
  return !name.empty() && name.front() != '.' && name.size() <= 200 &&
         std::none_of(name.begin(), name.end(), [](unsigned char c) { return c < 0x20 || c == '/' || c == '\\'; });
}

std::string text_in(const RowsJson& object, const char* key) {
  return object.is_object() && object.contains(key) && object[key].is_string() ? object[key].get<std::string>() : "";
}

std::int64_t number_in(const RowsJson& object, const char* key) {
  return object.contains(key) && object[key].is_number_unsigned() ? object[key].get<std::int64_t>() : -1;
}

// Rows that lie there whole; a last one that a killed process tore is cut off.
std::int64_t whole_rows(PartialFile& out) {
  std::int64_t rows = 0;
  std::uint64_t whole = 0;
  {
    const MappedFile file(out.path());
    const std::string_view text = file.text();
    rows = std::count(text.begin(), text.end(), '\n');
    const std::size_t last = text.rfind('\n');
    whole = last == std::string_view::npos ? 0 : last + 1;
  }
  if (whole < out.size()) out.restart(whole);
  return rows;
}

struct RowsPage {
  std::string lines;
  std::int64_t rows = 0, total = 0;
  bool partial = false;   // the server has only the first part of the split
  std::string cut_field;  // of the first row with a value that the server cut; `lines` are not to be used then
};

void take_row(const RowsJson& entry, std::int64_t expected, const std::string& where, RowsPage& page) {
  if (!entry.is_object() || !entry.contains("row") || !entry["row"].is_object() ||
      (entry.contains("row_idx") && number_in(entry, "row_idx") != expected)) {
    fail(Category::Corruption, where, "the server does not give row {} where it was asked for", expected);
  }
  if (page.cut_field.empty() && entry.contains("truncated_cells") && entry["truncated_cells"].is_array() &&
      !entry["truncated_cells"].empty()) {
    const RowsJson& first = entry["truncated_cells"].front();
    page.cut_field = first.is_string() ? one_line(first.get<std::string>()) : "unknown";
  }
  page.lines += json_text(entry["row"]);
  page.lines += '\n';
  ++page.rows;
}

RowsPage page_of(const HttpReply& reply, std::int64_t offset, const std::string& where) {
  const RowsJson answer = RowsJson::parse(reply.body, nullptr, false);
  RowsPage page;
  page.total = answer.is_object() ? number_in(answer, "num_rows_total") : -1;
  if (page.total < 0 || !answer.contains("rows") || !answer["rows"].is_array())
    fail(Category::Corruption, where,
         "the server's answer is not a list of rows; is HF_DATASETS_SERVER a rows server?");
  page.partial = answer.contains("partial") && answer["partial"].is_boolean() && answer["partial"].get<bool>();
  for (const RowsJson& entry : answer["rows"]) take_row(entry, offset + page.rows, where, page);
  if (page.rows == 0 && offset < page.total)
    fail(Category::Corruption, where, "the server gives no row {} of {}", offset, page.total);
  return page;
}

// The server cuts values so that an answer stays small: fewer rows leave more room for each.
std::int64_t fewer_rows(const RowsPage& page, std::int64_t length, std::int64_t offset, const std::string& where) {
  if (length > 1) return length / 2;
  fail(Category::Unsupported, where, "the server cuts the field '{}' of row {}, which is too long for it",
       page.cut_field, offset);
}

}  // namespace

RowsServer::RowsServer(std::string address, std::string token, std::string repository, std::string commit)
    : address_(std::move(address)),
      token_(std::move(token)),
      repository_(std::move(repository)),
      commit_(std::move(commit)) {}

void RowsServer::refuse(const HttpReply& reply) const {
  const std::string where = address_ + ": " + repository_;
  const std::string said = complaint_of(reply);
  if (reply.status == 401 || reply.status == 403) {
    fail(Category::InvalidArgument, where, "its rows may not be read ({}): {}; {}", reply.status, said,
         token_.empty() ? "set HF_TOKEN if it is private or gated, or check the name"
                        : "the token in use has no access; ask for it on the data set's page");
  }
  if (reply.status == 404)
    fail(Category::NotFound, where, "there are no such rows (404): {}; check the name, --config and --split", said);
  if (is_worth_another_try(reply.status)) {
    fail(Category::Io, where, "the server answered {} {} times: {}; the same command goes on later", reply.status,
         kRowsAttempts, said);
  }
  fail(Category::Unsupported, where,
       "the server does not give its rows ({}): {}; fetch its files with --file and write "
       "them as JSON Lines with another program",
       reply.status, said);
}

void RowsServer::check_commit(const HttpReply& reply) const {
  const auto told = reply.headers.find("x-revision");
  if (told == reply.headers.end() || told->second.empty() || told->second == commit_) return;
  fail(Category::Corruption, address_ + ": " + repository_,
       "the server has the rows of commit {}, asked for are those of {}; it follows the main branch alone, with some "
       "delay: leave --revision out, or try again later",
       one_line(told->second), commit_);
}

// A server that was never reached is a wrong address or no network, which waiting does not mend.
HttpReply RowsServer::ask_once(const std::string& query, bool is_last) const {
  try {
    return http_get({.url = address_ + query, .token = token_, .setting = "HF_DATASETS_SERVER"});
  } catch (const Error& error) {
    if (error.category() != Category::Io || !answered_ || is_last) throw;
    return {};
  }
}

HttpReply RowsServer::ask(const std::string& query) {
  for (int attempt = 1;; ++attempt) {
    HttpReply reply = ask_once(query, attempt == kRowsAttempts);
    if (reply.status == 200) {
      answered_ = true;
      check_commit(reply);
      return reply;
    }
    if (!is_worth_another_try(reply.status) || attempt == kRowsAttempts) refuse(reply);
    wait_for(pause_before(attempt, reply));
  }
}

std::vector<DatasetSplit> RowsServer::splits() {
  const RowsJson answer =
      RowsJson::parse(ask("/splits?dataset=" + url_encoded(repository_, false)).body, nullptr, false);
  const std::string where = address_ + ": " + repository_;
  if (!answer.is_object() || !answer.contains("splits") || !answer["splits"].is_array())
    fail(Category::Corruption, where,
         "the server's answer is not a list of splits; is HF_DATASETS_SERVER a rows server?");
  std::vector<DatasetSplit> all;
  for (const RowsJson& entry : answer["splits"]) {
    all.push_back({text_in(entry, "config"), text_in(entry, "split")});
    if (!is_file_name(all.back().config) || !is_file_name(all.back().split))
      fail(Category::Corruption, where, "the server names a split '{}' of '{}', which cannot be a file's name",
           one_line(all.back().split), one_line(all.back().config));
  }
  if (all.empty()) fail(Category::NotFound, where, "the server knows no split of this data set");
  return all;
}

HttpReply RowsServer::ask_rows(const DatasetSplit& split, std::int64_t offset, std::int64_t length) {
  return ask(fmt::format("/rows?dataset={}&config={}&split={}&offset={}&length={}", url_encoded(repository_, false),
                         url_encoded(split.config, false), url_encoded(split.split, false), offset, length));
}

bool RowsServer::fetch(const DatasetSplit& split, const fs::path& target) {
  if (fs::exists(target)) return true;
  const std::string what = split.config + "/" + split.split;
  fs::path unfinished = target;
  unfinished += ".incomplete";
  PartialFile out(unfinished, what);
  if (fs::exists(target)) {  // another process has fetched it meanwhile
    out.discard();
    return true;
  }
  const std::string where = fmt::format("{}: {}: {}", address_, repository_, what);
  std::int64_t have = whole_rows(out);
  std::unique_ptr<Progress> progress;
  for (std::int64_t length = kMostRows;;) {
    const RowsPage page = page_of(ask_rows(split, have, length), have, where);
    if (!page.cut_field.empty()) {
      length = fewer_rows(page, length, have, where);
      continue;
    }
    if (!progress) progress = std::make_unique<Progress>("rows " + what, page.total, have);
    out.append(page.lines);
    have += page.rows;
    progress->update(have);
    if (have >= page.total) {
      progress->finish();
      out.sync();
      out.become(target);
      return !page.partial;
    }
    length = std::min(kMostRows, 2 * length);
  }
}

}  // namespace graft
