#include "corpus/documents.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include "corpus/corpus_test_support.h"
#include "data/parquet_test_support.h"

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class Documents : public ::testing::Test {
 protected:
  std::string file(const std::string& name, std::string_view text) const { return folder_.file(name, text).string(); }
  static std::vector<std::string> read(const std::vector<std::string>& paths, const DocumentSettings& settings = {}) {
    return documents_of(paths, settings);
  }
  static std::string refused(const std::vector<std::string>& paths, const DocumentSettings& settings = {}) {
    return error_of([&] { read(paths, settings); });
  }

  Folder folder_;
};

TEST_F(Documents, EveryFormatGivesTheSameTexts) {
  const auto texts = ElementsAre("One, two", "three");
  EXPECT_THAT(read({file("a.jsonl", "{\"text\": \"One, two\"}\n{\"id\": 2, \"text\": \"three\"}\n")}), texts);
  EXPECT_THAT(read({file("a.csv", "id,text\n1,\"One, two\"\n2,three\n")}), texts);
  EXPECT_THAT(read({file("a.tsv", "id\ttext\n1\tOne, two\n2\tthree\n")}), texts);
  DocumentSettings paragraphs;
  paragraphs.paragraphs = true;
  EXPECT_THAT(read({file("a.txt", "\n\nOne, two\r\n \n\nthree")}, paragraphs), texts);
  EXPECT_THAT(read({file("b.txt", "One, two"), file("c.txt", "three")}), texts);
}

TEST_F(Documents, RowsOfParquetFilesAreDocuments) {
  if (!reads_parquet()) GTEST_SKIP() << kNoParquet;
  const auto texts = read(
      {parquet_file("train-00000-of-00002.parquet").string(), parquet_file("train-00001-of-00002.parquet").string()});
  ASSERT_EQ(texts.size(), 600u);
  EXPECT_EQ(texts[599], "review 599: good");
  DocumentReader reader({parquet_file("train-00000-of-00002.parquet").string()});
  Document document;
  for (int row = 0; row < 3; ++row) ASSERT_TRUE(reader.next(document));
  EXPECT_EQ(reader.where(document.place), parquet_file("train-00000-of-00002.parquet").string() + ":3");
  EXPECT_THAT(refused({parquet_file("empty.parquet").string()}), HasSubstr("has no rows"));
  DocumentSettings settings;
  settings.field = "body";
  EXPECT_THAT(refused({parquet_file("latin1.parquet").string()}, settings), HasSubstr("has no field 'body'"));
  settings.field = "answers.text.0";
  EXPECT_THAT(refused({parquet_file("types.parquet").string()}, settings), HasSubstr("types.parquet:2: has no field"));
}

TEST_F(Documents, AFieldMayBeInsideAnother) {
  DocumentSettings settings;
  settings.field = "page.body";
  EXPECT_THAT(read({file("a.jsonl", "{\"page\": {\"body\": \"x\"}, \"text\": \"y\"}\n")}, settings), ElementsAre("x"));
}

TEST_F(Documents, ChunksOfAnySizeMakeNoDifference) {
  const std::string text =
      "\xEF\xBB\xBF"
      "A first l\xC3\xA9ngthy line,\r\nand another.\n\n  Third\tparagraph \xF0\x9F\x98\x80 end\n";
  const std::string whole = file("a.txt", text);
  const std::string rows = file("a.jsonl", "{\"text\": \"caf\xC3\xA9 one\"}\r\n{\"text\": \"two\"}");
  for (std::size_t chunk = 1; chunk < 40; ++chunk) {
    DocumentSettings settings;
    settings.chunk_bytes = chunk;
    EXPECT_THAT(read({whole}, settings), ElementsAre(text.substr(3))) << chunk;
    EXPECT_THAT(read({rows}, settings), ElementsAre("caf\xC3\xA9 one", "two")) << chunk;
    settings.paragraphs = true;
    EXPECT_THAT(read({whole}, settings),
                ElementsAre("A first l\xC3\xA9ngthy line,\nand another.", "  Third\tparagraph \xF0\x9F\x98\x80 end"))
        << chunk;
  }
}

TEST_F(Documents, PiecesEndBetweenWords) {
  DocumentSettings settings;
  settings.chunk_bytes = 4;
  DocumentReader reader({file("a.txt", "a bc def ghijklmnop q")}, settings);
  std::string all;
  std::vector<bool> firsts, lasts;
  for (Piece piece; reader.next(piece);) {
    EXPECT_TRUE(piece.last || piece.text.ends_with(' ')) << piece.text;
    all += piece.text;
    firsts.push_back(piece.first);
    lasts.push_back(piece.last);
  }
  EXPECT_EQ(all, "a bc def ghijklmnop q");
  ASSERT_GT(firsts.size(), 2u);
  EXPECT_EQ(std::count(firsts.begin(), firsts.end(), true), 1);
  EXPECT_EQ(std::count(lasts.begin(), lasts.end(), true), 1);
  EXPECT_TRUE(firsts.front());
  EXPECT_TRUE(lasts.back());
  EXPECT_EQ(reader.documents(), 1);
  EXPECT_EQ(reader.bytes(), 21u);
}

TEST_F(Documents, TellWhereTheyAre) {
  DocumentSettings settings;
  settings.paragraphs = true;
  DocumentReader reader({file("a.txt", "x\n\n\ny\nz\n"), file("b.jsonl", "{\"text\": \"p\"}\n{\"text\": \"q\"}\n"),
                         file("c.csv", "text\n\"u\nv\"\nw\n")},
                        settings);
  std::vector<std::string> where;
  for (Document document; reader.next(document);)
    where.push_back(reader.where(document.place).substr(folder_.path().string().size() + 1));
  EXPECT_THAT(where, ElementsAre("a.txt:1", "a.txt:4", "b.jsonl:1", "b.jsonl:2", "c.csv:2", "c.csv:4"));
  EXPECT_EQ(reader.bytes(), reader.total_bytes());
}

TEST_F(Documents, AFolderIsItsFilesByName) {
  file("in/b.txt", "second");
  file("in/deep/c.jsonl", "{\"text\": \"third\"}\n");
  file("in/a.txt", "first");
  file("in/notes.md", "none");
  EXPECT_THAT(read({(folder_.path() / "in").string()}), ElementsAre("first", "second", "third"));
  file("none/notes.md", "none");
  EXPECT_THAT(refused({(folder_.path() / "none").string()}),
              HasSubstr("holds no .txt, .jsonl, .csv, .tsv or .parquet file"));
}

TEST_F(Documents, CompressedFilesAreNotPassedOver) {
  EXPECT_THAT(refused({file("a.jsonl.gz", "x")}), HasSubstr("a.jsonl.gz: is compressed; unpack it, or pipe"));
  file("in/a.txt", "first");
  file("in/b.txt.zst", "x");
  EXPECT_THAT(refused({(folder_.path() / "in").string()}), HasSubstr("b.txt.zst: is compressed"));
  file("other/a.txt", "first");
  file("other/picture.gz", "no text that would have been read");
  EXPECT_THAT(read({(folder_.path() / "other").string()}), ElementsAre("first"));
}

TEST_F(Documents, ALinkThatLeadsNowhereIsNoFile) {
  file("in/a.txt", "first");
  std::filesystem::create_symlink("loop.txt", folder_.path() / "in/loop.txt");
  std::filesystem::create_symlink("none.txt", folder_.path() / "in/b.txt");
  EXPECT_THAT(read({(folder_.path() / "in").string()}), ElementsAre("first"));
}

TEST_F(Documents, ATableThatIsAPipeIsNotWaitedFor) {
  const auto pipe = folder_.path() / "p.csv";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THAT(refused({pipe.string()}), HasSubstr("p.csv: is a device or a pipe, a file was expected"));
}

TEST_F(Documents, InvalidBytesAreReplaced) {
  EXPECT_THAT(read({file("a.txt", "a\xFF b")}), ElementsAre("a\xEF\xBF\xBD b"));
  EXPECT_THAT(read({file("a.jsonl", "{\"text\": \"a\xFF b\"}\n")}), ElementsAre("a\xEF\xBF\xBD b"));
  DocumentSettings settings;
  settings.chunk_bytes = 4;
  DocumentReader reader({file("latin.txt", "caf\xE9 na\xEFve and so on"), file("plain.txt", "caf\xC3\xA9")}, settings);
  for (Document document; reader.next(document);) {
  }
  EXPECT_EQ(reader.documents(), 2);
  EXPECT_EQ(reader.garbled(), 1) << "each document once";
}

TEST_F(Documents, BadRowsNameFileAndLine) {
  EXPECT_THAT(refused({file("a.jsonl", "{\"text\": \"x\"}\n{\"text\": \n")}),
              HasSubstr("a.jsonl:2: is not valid JSON"));
  EXPECT_THAT(refused({file("a.jsonl", "{\"text\": \"x\"}\n{\"txet\": \"y\"}\n")}),
              HasSubstr("a.jsonl:2: has no field 'text'; it has txet (did you mean 'txet'?)"));
  EXPECT_THAT(refused({file("a.jsonl", "{\"text\": \"x\"}\n\n{\"text\": \"y\"}\n")}),
              HasSubstr("a.jsonl:2: empty row; remove the blank line"));
  std::string numbers;
  for (int i = 0; i < 100; ++i) numbers += (i == 0 ? "" : ",") + std::to_string(i);
  EXPECT_THAT(refused({file("a.jsonl", "{\"vector\": [" + numbers + "]}\n")}),
              ::testing::AllOf(HasSubstr("it has vector.0, vector.1,"), ::testing::EndsWith(" and 80 more")));
  EXPECT_THAT(refused({file("a.csv", "txt,n\nx,1\n")}), HasSubstr("a.csv:1: has no column 'text'; it has n, txt"));
  EXPECT_THAT(refused({file("a.csv", "text,n\nx\n")}), HasSubstr("a.csv:2: has 1 fields, the header has 2"));
}

TEST_F(Documents, FilesWithoutDocumentsAreRefused) {
  EXPECT_THAT(refused({file("a.txt", "")}), HasSubstr("a.txt: holds no text; leave it out"));
  EXPECT_THAT(refused({file("a.txt", " \n\t\n")}), HasSubstr("holds no text"));
  DocumentSettings paragraphs;
  paragraphs.paragraphs = true;
  EXPECT_THAT(refused({file("a.txt", " \n\t\n")}, paragraphs), HasSubstr("holds no text"));
  EXPECT_THAT(refused({file("a.jsonl", "\n")}), HasSubstr("a.jsonl: has no rows; leave it out"));
  EXPECT_THAT(refused({file("a.csv", "text\n")}), HasSubstr("a.csv: has no rows; leave it out"));
  EXPECT_THAT(refused({file("a.csv", "")}), HasSubstr("has no header line"));
}

TEST_F(Documents, NamesAreChecked) {
  EXPECT_THAT(refused({(folder_.path() / "none.txt").string()}), StartsWith("NotFound"));
  EXPECT_THAT(refused({file("a.dat", "x")}), HasSubstr("cannot tell the format from '.dat'; say --format"));
  EXPECT_THAT(refused({file("plain", "x")}), HasSubstr("plain: has no ending that tells its format; say --format"));
  EXPECT_THAT(refused({}), HasSubstr("name a file or a folder"));
  DocumentSettings settings;
  settings.format = "jsnl";
  EXPECT_THAT(refused({file("a.dat", "x")}, settings), HasSubstr("--format: unknown 'jsnl' (did you mean 'jsonl'?)"));
  settings.format = "txt";
  EXPECT_THAT(read({file("a.dat", "x")}, settings), ElementsAre("x"));
  EXPECT_THAT(refused({file("b.txt", std::string_view("\xFF\xFEt\0", 4))}), HasSubstr("UTF-16"));
  EXPECT_THAT(refused({file("b.jsonl", std::string_view("a\0b", 3))}), HasSubstr("zero bytes"));
}

}  // namespace
}  // namespace graft
