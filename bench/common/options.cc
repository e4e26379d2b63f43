#include "common/options.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace tailrace::bench {
namespace {

void print_usage(std::FILE* to, const char* program, const char* what,
                 const std::vector<Flag>& own) {
  std::fprintf(to,
               "%s: %s\n"
               "  --quick      a few seconds, rough figures\n"
               "  --rounds N   alternated rounds; the figures are medians\n"
               "  --dir DIR    where the logs go (default /var/tmp); everything is removed again\n"
               "  --no-warm    do not touch and free memory first\n"
               "  --json       one object per line\n"
               "  --check      exit 6 when a target was missed\n",
               program, what);
  for (const Flag& flag : own) std::fprintf(to, "  %-12s %s\n", flag.name, flag.help);
}

}  // namespace

Options parse_options(int argc, char** argv, const char* what, const std::vector<Flag>& own) {
  Options out;
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    const bool has_value = i + 1 < argc;
    const auto mine =
        std::find_if(own.begin(), own.end(), [&](const Flag& f) { return flag == f.name; });
    if (mine != own.end()) {
      *mine->given = true;
    } else if (flag == "--quick") {
      out.quick = true;
    } else if (flag == "--json") {
      out.json = true;
    } else if (flag == "--no-warm") {
      out.warm = false;
    } else if (flag == "--check") {
      out.check = true;
    } else if (flag == "--dir" && has_value) {
      out.directory = argv[++i];
    } else if (flag == "--rounds" && has_value) {
      out.rounds = static_cast<unsigned>(std::strtoul(argv[++i], nullptr, 10));
    } else if (flag == "--help") {
      print_usage(stdout, argv[0], what, own);
      std::exit(0);
    } else {
      print_usage(stderr, argv[0], what, own);
      std::exit(2);
    }
  }
  return out;
}

}  // namespace tailrace::bench
