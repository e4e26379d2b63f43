"""What README.md and docs/ say is true: links and paths lead somewhere, samples compile, commands run.

    ```cpp                      ```sh
    // example: NAME [run]      # test
    ...                         ...
    ```                         ```

A cpp sample with such a first line is compiled against the public headers; with main() it is linked, with "run" also
run. A sh sample with such a first line runs under `bash -e` in an empty directory with build/bin on the PATH.
"""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ["TAILRACE_SOURCE_DIR"])
BUILD = pathlib.Path(os.environ["TAILRACE_BUILD_DIR"])
REPOSITORY_PATH = re.compile(r"(\./)?((engine|tools|bench|tests|docs|\.ci|build/bin)/[\w./*-]+|CMakeLists\.txt)")
FLAGS = ["-std=c++20", "-Wall", "-Wextra", "-Werror"]


def pages(root):
    return [page for page in [root / "README.md", *sorted((root / "docs").rglob("*.md"))] if page.is_file()]


def prose(page):
    """The page without its fenced blocks; lines keep their numbers."""
    return re.sub(r"^```.*?^```", lambda match: "\n" * match[0].count("\n"), page.read_text(), flags=re.M | re.S)


def anchors(page):
    """The names under which a page's headings can be linked, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.*?) *$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(root):
    found = []
    for page in pages(root):
        for number, line in enumerate(prose(page).splitlines(), 1):
            for link in re.findall(r"\]\(([^)\s]+)\)", line):
                path, _, anchor = link.partition("#")
                target = page.parent / path if path else page
                if re.match(r"[a-z]+:", link):
                    continue  # the world outside
                if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
                    found.append(f"{page.relative_to(root)}:{number}: {link}")
    return found


def missing_paths(root, build):
    """Words in backticks that look like a path of the repository, or of build/bin, but are none."""
    found = []
    for page in pages(root):
        for number, line in enumerate(prose(page).splitlines(), 1):
            for quoted in re.findall(r"`([^`]+)`", line):
                for match in filter(None, map(REPOSITORY_PATH.fullmatch, quoted.split())):
                    path = match[2]
                    base, pattern = (build, path[len("build/"):]) if path.startswith("build/") else (root, path)
                    if not any(base.glob(pattern.rstrip("/"))):
                        found.append(f"{page.relative_to(root)}:{number}: {path}")
    return found


def samples(root, language, first_line):
    """(page:line, match of the first line, text) of every fenced block that is marked."""
    for page in pages(root):
        text = page.read_text()
        for block in re.finditer(rf"^```{language}\n(.*?)^```", text, re.M | re.S):
            if marked := re.match(first_line, block[1]):
                yield f"{page.relative_to(root)}:{text[:block.start()].count(chr(10)) + 1}", marked, block[1]


def failure(command, **options):
    """None, or what a failing command said."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", timeout=120, **options)
    return None if done.returncode == 0 else f"exit {done.returncode}: {done.stdout}"


def broken_cpp(root, build):
    cache = (build / "CMakeCache.txt").read_text()
    compiler = re.search(r"^CMAKE_CXX_COMPILER:\w+=(.*)$", cache, re.M)[1]
    found = []
    for place, marked, text in samples(root, "cpp", r"// example: (\w+)( run)?\n"):
        with tempfile.TemporaryDirectory() as folder:
            source = pathlib.Path(folder, f"{marked[1]}.cc")
            source.write_text(text)
            program = "main(" in text
            link = [f"-L{build}/lib", f"-Wl,-rpath,{build}/lib", "-ltailrace"] if program else ["-c"]
            said = failure([compiler, *FLAGS, f"-I{SOURCE}/engine/include", source, "-o", source.with_suffix(""), *link])
            if not said and marked[2]:
                said = failure([source.with_suffix("")], cwd=folder)
            if said:
                found.append(f"{place}: {marked[1]}: {said}")
    return found


def broken_sh(root, build):
    environment = dict(os.environ, PATH=f"{build}/bin:{os.environ['PATH']}")
    found = []
    for place, _, text in samples(root, "sh", r"# test\n"):
        with tempfile.TemporaryDirectory() as folder:
            if said := failure(["bash", "-e", "-o", "pipefail", "-c", text], cwd=folder, env=environment):
                found.append(f"{place}: {said}")
    return found


PLANTED = {
    "README.md": """# A page
[good](docs/a.md#second-heading-two) [bad](docs/none.md) [bad](docs/a.md#third) [out](https://example.org/x)
`docs/a.md` `./docs/none.md --flag` `build/bin/none` `a/b` `docs/*.md`
```
[ignored](in/a/fence.md)
```
""",
    "docs/a.md": """## Second heading: two
```cpp
// example: compiles
#include <tailrace/version.h>
const char* version() { return tailrace::version(); }
```
```cpp
// example: does_not
int f() { return nothing; }
```
```cpp
// example: runs run
#include <tailrace/version.h>
int main() { return tailrace::version()[0] == 0; }
```
```cpp
// example: fails run
int main() { return 3; }
```
```cpp
not marked
```
```sh
# test
test -z "$(ls)"
```
```sh
# test
false
true
```
""",
}


class Docs(unittest.TestCase):
    def assert_none(self, found):
        self.assertFalse(found, "\n  " + "\n  ".join(found))

    def test_links(self):
        self.assert_none(broken_links(SOURCE))

    def test_paths(self):
        self.assert_none(missing_paths(SOURCE, BUILD))

    def test_cpp_samples(self):
        if os.environ.get("TAILRACE_SANITIZE"):
            self.skipTest("samples are built without the sanitizer's flags")
        self.assert_none(broken_cpp(SOURCE, BUILD))

    def test_sh_samples(self):
        self.assert_none(broken_sh(SOURCE, BUILD))

    def test_every_rule_can_fail(self):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "docs").mkdir()
            for name, text in PLANTED.items():
                (root / name).write_text(text)
            self.assertEqual(broken_links(root), ["README.md:2: docs/none.md", "README.md:2: docs/a.md#third"])
            self.assertEqual(missing_paths(root, BUILD), ["README.md:3: docs/none.md", "README.md:3: build/bin/none"])
            cpp = [said.split(": ")[:2] for said in broken_cpp(root, BUILD)]
            if not os.environ.get("TAILRACE_SANITIZE"):
                self.assertEqual(cpp, [["docs/a.md:7", "does_not"], ["docs/a.md:16", "fails"]])
            self.assertEqual([said.split(": ")[0] for said in broken_sh(root, BUILD)], ["docs/a.md:27"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
