// graft_tokenizer_dump PATH encode|decode|time|threads [REPEATS] < records
// graft_tokenizer_dump FOLDER gguf FILE: writes the tokenizer as a GGUF file.
// encode: records ended by NUL in, one line of ids each out. decode: lines of ids in, texts ended by NUL out.
// time: encodes all records REPEATS times on one thread, threads: on two; prints bytes and the seconds of every run.
#include <iostream>
#include <iterator>
#include <sstream>
#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "checkpoint/writer.h"
#include "text/gguf_tokenizer.h"
#include "text/tokenizer.h"

namespace {

std::vector<std::string> records(char end) {
  std::vector<std::string> lines;
  for (std::string line; std::getline(std::cin, line, end);) lines.push_back(line);
  return lines;
}

void encode(const graft::Tokenizer& tokenizer, const std::string& mode) {
  for (const std::string& line : records('\0')) {
    std::string out;
    for (const graft::TokenId id : tokenizer.encode(line, mode == "encode_special")) out += std::to_string(id) + " ";
    if (!out.empty()) out.pop_back();
    std::cout << out << '\n';
  }
}

void decode(const graft::Tokenizer& tokenizer, bool skip_special) {
  for (const std::string& line : records('\n')) {
    std::istringstream in(line);
    const std::vector<graft::TokenId> ids(std::istream_iterator<graft::TokenId>(in), {});
    std::cout << tokenizer.decode(ids, skip_special) << '\0';
  }
}

void time(const graft::Tokenizer& tokenizer, std::size_t threads, int repeats) {
  const std::vector<std::string> lines = records('\0');
  std::size_t bytes = 0;
  for (const std::string& line : lines) bytes += line.size();
  std::cout << bytes;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    const auto start = graft::Clock::now();
    std::vector<std::thread> pool;
    for (std::size_t thread = 0; thread < threads; ++thread) {
      pool.emplace_back([&, thread] {
        for (std::size_t index = thread; index < lines.size(); index += threads) tokenizer.encode(lines[index]);
      });
    }
    for (std::thread& thread : pool) thread.join();
    std::cout << ' ' << graft::seconds_since(start);
  }
  std::cout << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const std::string mode = argv[2];
  try {
    const auto tokenizer = graft::open_tokenizer(argv[1]);
    if (mode.starts_with("encode")) encode(*tokenizer, mode);
    if (mode.starts_with("decode")) decode(*tokenizer, mode == "decode");
    if (mode == "time" || mode == "threads")
      time(*tokenizer, mode == "time" ? 1 : 2, argc > 3 ? std::stoi(argv[3]) : 3);
    if (mode == "gguf" && argc > 3) {
      std::vector<std::string> notes;
      graft::write_gguf(argv[3], {}, graft::gguf_tokenizer(argv[1], tokenizer->vocab_size(), notes))->finish();
    }
    if (mode == "hash") std::cout << tokenizer->hash() << '\n';
  } catch (const graft::Error& error) {
    std::cerr << error.what() << '\n';
    return graft::exit_code(error.category());
  }
}
