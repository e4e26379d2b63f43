// The command line about leases that programs hold: the fence condition, and that an application's
// records are shown without the engine's. (A writer that opens the log gives each its full time.)

#include <fmt/format.h>

#include <fstream>

#include "log/leases.h"

namespace tailrace::test {
namespace {

/// Runs a command line of `tailrace`, with LOG in place of "LOG". Its stdout is in out.
class Cli {
 public:
  explicit Cli(const TempLog& log) : log_(log) {}
  int operator()(std::string arguments, const std::string& input = {}) {
    arguments.replace(arguments.find("LOG"), 3, log_.path().string());
    std::ofstream(file("in")) << input;
    const int status =
        std::system(fmt::format("'{}' {} < '{}' > '{}' 2> '{}'", std::getenv("TAILRACE_BIN"),
                                arguments, file("in"), file("out"), file("err"))
                        .c_str());
    out = file_bytes(file("out"));
    err = file_bytes(file("err"));
    return WEXITSTATUS(status);
  }
  std::string out, err;

 private:
  [[nodiscard]] std::string file(const char* name) const {
    return (log_.path().parent_path() / name).string();
  }
  const TempLog& log_;
};

TEST(Fence, FromTheCommandLine) {
  if (std::getenv("TAILRACE_BIN") == nullptr) GTEST_SKIP() << "run by ctest";
  const TempLog log;
  LeaseToken token;
  Position position = 0;
  {
    Writer writer = log.writer();
    must(writer.append(as_bytes("first")));
    const LeaseDecision decision = must(writer.acquire_lease("l", hours(1), "a test"));
    token = decision.token;
    position = decision.decided_at;
    must(writer.close());
  }
  Cli cli(log);
  const auto flag = [&](Sequence sequence) {
    return fmt::format("append LOG --expect-fence l={}:{}", token.epoch, sequence);
  };
  EXPECT_EQ(cli(flag(token.sequence), "second\n"), 0) << cli.err;
  EXPECT_EQ(cli(flag(token.sequence + 1), "never\n"), 5);
  EXPECT_NE(cli.err.find("condition fence 'l' does not hold: it is held since sequence 2"),
            std::string::npos)
      << cli.err;

  const auto line = [&](Epoch epoch) {
    return fmt::format(
        R"({{"data":"third","expect":{{"fence":{{"lease":"l","epoch":{},"sequence":{}}}}}}})"
        "\n",
        epoch, token.sequence);
  };
  EXPECT_EQ(cli("append LOG --jsonl --acks", line(token.epoch) + line(token.epoch + 1)), 0);
  EXPECT_EQ(cli.out.find(R"({"line":1,"sequence":4,)"), 0u) << cli.out;
  const std::string conflict = fmt::format(
      R"({{"line":2,"conflict":{{"condition":"fence","lease":"l","sequence":2,"position":"{}"}}}})",
      position);
  EXPECT_NE(cli.out.find(conflict), std::string::npos) << cli.out;

  EXPECT_EQ(cli("read LOG"), 0);
  EXPECT_EQ(cli.out, "first\nsecond\nthird\n");
  EXPECT_EQ(cli("read LOG --json --all --from 2 -n 1"), 0);
  EXPECT_NE(cli.out.find(R"("keys":["\u0000lease/l"])"), std::string::npos) << cli.out;
  EXPECT_EQ(cli("keys LOG list"), 0);
  EXPECT_EQ(cli.out, "");
  EXPECT_EQ(cli("keys LOG list --all --json"), 0);
  EXPECT_NE(cli.out.find(R"(\u0000lease/l)"), std::string::npos) << cli.out;
  EXPECT_EQ(cli("verify LOG"), 0);
}

}  // namespace
}  // namespace tailrace::test
