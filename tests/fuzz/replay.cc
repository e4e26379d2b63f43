// Runs a fuzz target over files, for builds without libFuzzer: fuzz_NAME DIRECTORY...

#include <fstream>
#include <iterator>
#include <vector>

#include "fuzz/target.h"

int main(int count, char** arguments) {
  int files = 0;
  for (int i = 1; i < count; ++i) {
    for (const auto& file : std::filesystem::directory_iterator(arguments[i])) {
      std::ifstream stream(file.path(), std::ios::binary);
      const std::vector<char> read{std::istreambuf_iterator<char>(stream), {}};
      // Each input in memory of its own size, so that sanitizers see where it ends.
      const std::vector<std::uint8_t> bytes(read.begin(), read.end());
      std::fprintf(stderr, "%s\n", file.path().c_str());
      static_cast<void>(LLVMFuzzerTestOneInput(bytes.data(), bytes.size()));
      ++files;
    }
  }
  std::printf("%d inputs\n", files);
  return files > 0 ? 0 : 1;
}
