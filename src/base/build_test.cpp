#include "base/build.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <regex>
#include <string>

#include "base/file.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

TEST(Build, SaysItsVersionAndCommit) {
  const std::string commit = build_commit();
  EXPECT_TRUE(std::regex_match(commit, std::regex("[A-Za-z0-9._+/-]+"))) << commit;
  EXPECT_EQ(build_version(), GRAFT_VERSION " (" + commit + ")");
}

// The script that writes build_commit(), on a folder of its own.
class BuildCommit : public ::testing::Test {
 protected:
  BuildCommit() : folder_(fs::temp_directory_path() / ("graft-build-" + std::to_string(::getpid()))) {
    fs::remove_all(folder_);
    write_file(source() / "src/a.cpp", "int a;\n");
  }
  ~BuildCommit() override { fs::remove_all(folder_); }

  fs::path source() const { return folder_ / "source"; }
  fs::path output() const { return folder_ / "commit.cpp"; }

  std::string written(const std::string& more = "") const {
    const std::string command = "cmake -DSOURCE='" + source().string() + "' -DOUTPUT='" + output().string() + "' " +
                                more + " -P '" GRAFT_SOURCE_DIR "/cmake/build_commit.cmake'";
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
    const std::string text = read_file(output());
    const std::size_t begin = text.find("return \"") + 8;
    return text.substr(begin, text.find('"', begin) - begin);
  }

  void git(const fs::path& where, const std::string& arguments) const {
    const std::string command = "git -C '" + where.string() +
                                "' -c user.name=a -c user.email=a@b -c commit.gpgsign=false " + arguments +
                                " >/dev/null";
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
  }

  static ino_t inode(const fs::path& file) {
    struct stat status {};
    ::stat(file.c_str(), &status);
    return status.st_ino;
  }

 private:
  fs::path folder_;
};

// Archives of different code are told apart: what one has scored is not taken up by another.
TEST_F(BuildCommit, IsUnknownWithoutGitUnlessItIsGiven) {
  const std::string unknown = written();
  EXPECT_TRUE(std::regex_match(unknown, std::regex("unknown-[0-9a-f]{8}"))) << unknown;
  write_file(source() / "README.md", "No code.\n");
  EXPECT_EQ(written(), unknown);
  write_file(source() / "src/a.cpp", "int b;\n");
  EXPECT_NE(written(), unknown);
  EXPECT_EQ(written("-DCOMMIT='v1.0-\"x'"), "v1.0-x");
}

TEST_F(BuildCommit, TellsOtherCodeApartAndLeavesAFileThatIsTrue) {
  git(source(), "init -q");
  git(source(), "add .");
  git(source(), "commit -q -m first");
  const std::string clean = written();
  EXPECT_TRUE(std::regex_match(clean, std::regex("[0-9a-f]{12}"))) << clean;
  const auto before = inode(output());
  write_file(source() / "README.md", "No code.\n");
  EXPECT_EQ(written(), clean);
  EXPECT_EQ(inode(output()), before) << "nothing follows it into another build";
  write_file(source() / "src/a.cpp", "int b;\n");
  const std::string changed = written();
  EXPECT_TRUE(changed.starts_with(clean + "-dirty-")) << changed;
  write_file(source() / "src/a.cpp", "int c;\n");
  EXPECT_NE(written(), changed);
  write_file(source() / "src/a.cpp", "int a;\n");
  EXPECT_EQ(written(), clean);
  write_file(source() / "src/new.cpp", "int d;\n");
  EXPECT_TRUE(written().starts_with(clean + "-dirty-"));
}

TEST_F(BuildCommit, IsNotThatOfACheckoutAroundIt) {
  git(source(), "init -q");
  git(source(), "add .");
  git(source(), "commit -q -m first");
  const std::string command = "cmake -DSOURCE='" + (source() / "src").string() + "' -DOUTPUT='" + output().string() +
                              "' -P '" GRAFT_SOURCE_DIR "/cmake/build_commit.cmake'";
  ASSERT_EQ(std::system(command.c_str()), 0);
  EXPECT_NE(read_file(output()).find("\"unknown-"), std::string::npos);
}

}  // namespace
}  // namespace graft
