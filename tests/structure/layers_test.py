"""The shape of the code, kept by a test: each rule is a function from a source tree to what violates it there.

Every rule is run twice: on the repository, where it must find nothing, and on a small planted tree, where it must
find exactly what was planted.
"""

import os
import pathlib
import re
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ["TAILRACE_SOURCE_DIR"])

# Each layer of engine/src and what it may include besides itself. format knows bytes and does no I/O: no file.
LAYERS = {
    "base": [],
    "file": ["base"],
    "format": ["base"],
    "keys": ["base", "file", "format"],
    "log": ["base", "file", "format", "keys"],
    "serve": ["base", "file", "format", "log", "keys"],
    "state": ["base", "file", "format", "log", "keys", "serve"],
}
TOP_LEVEL = {"CMakeLists.txt", "engine", "tools", "bench", "tests", "docs", "README.md"}
CODE_FOLDERS = ("engine", "tools", "bench", "tests")
MACHINE_FILE = "engine/src/base/arch.h"  # the only one that knows x86-64 from AArch64
MACHINE = re.compile(r"__x86_64__|__aarch64__|\w*intrin\.h|\barm_(acle|neon)\.h|\b_mm\d*_\w+|\b__builtin_(ia32|arm)_\w+"
                     r"|\b_?_rdtscp?\b|\b(__)?asm(__)?\s*(volatile|__volatile__)?\s*\(\s*\"[^\"]")
MAX_LINES = 400


def files(root, *suffixes, under=CODE_FOLDERS):
    return sorted(path for folder in under for path in (root / folder).rglob("*")
                  if path.suffix in suffixes and path.is_file())


def includes(path):
    return re.findall(r'^\s*#\s*include\s*([<"][^>"]+)[>"]', path.read_text(), re.M)


def resolve(source, path, include):
    """The file of engine/src that an include names, or None."""
    for folder in (source, path.parent):
        target = (folder / include[1:]).resolve()
        if target.is_file() and target.is_relative_to(source.resolve()):
            return target
    return None


def reachable(source, path, seen):
    """All files of engine/src that path includes, also through others."""
    for include in includes(path):
        target = resolve(source, path, include)
        if target and target not in seen:
            seen.add(target)
            reachable(source, target, seen)
    return seen


def upward_includes(root):
    source, found = root / "engine/src", []
    for path in files(root, ".h", ".cc", under=["engine/src"]):
        layer = path.relative_to(source).parts[0]
        if layer not in LAYERS:
            found.append(f"{path.relative_to(root)}: no such layer: {layer}")
            continue
        for include in includes(path):
            target = resolve(source, path, include)
            other = target.relative_to(source.resolve()).parts[0] if target else include[1:].split("/")[0]
            if other in LAYERS and other != layer and other not in LAYERS[layer]:
                found.append(f"{path.relative_to(root)}: {layer} must not include {include[1:]}")
    return found


def writer_meets_reader(root):
    log, found = root / "engine/src/log", []
    for mine, other in (("writer", "reader"), ("reader", "writer")):
        for path in sorted(log.glob(f"{mine}*.h")) + sorted(log.glob(f"{mine}*.cc")):
            for target in sorted(reachable(root / "engine/src", path, set())):
                if target.parent == log.resolve() and target.name.startswith(other):
                    found.append(f"{path.relative_to(root)}: reaches {target.name}")
    return found


def system_headers_in_public(root):
    """Public headers include each other, C++ standard headers (no dot, no slash) and tl::expected; those of mapped states
    Boost's as well."""
    return [f"{path.relative_to(root)}: includes {include[1:]}"
            for path in files(root, ".h", under=["engine/include/tailrace"]) for include in includes(path)
            if not re.fullmatch(r"[a-z_]+|tailrace/\w+\.h|tl/expected\.hpp"
                                + r"|boost/[\w/]+\.hpp" * path.name.startswith("mapped_"), include[1:])]


def without_comments(text):
    return re.sub(r"/\*.*?\*/|//[^\n]*", lambda match: "\n" * match[0].count("\n"), text, flags=re.S)


def machine_code_elsewhere(root):
    return [f"{path.relative_to(root)}:{number}: {match[0]}"
            for path in files(root, ".h", ".cc") if str(path.relative_to(root)) != MACHINE_FILE
            for number, line in enumerate(without_comments(path.read_text()).splitlines(), 1)
            if (match := MACHINE.search(line))]


def strangers_at_top(root):
    return sorted(entry.name for entry in root.iterdir() if entry.name not in TOP_LEVEL
                  and not entry.name.startswith(".") and not (entry.is_dir() and entry.name.startswith("build")))


def long_files(root):
    counts = ((path, path.read_text().count("\n")) for path in files(root, ".h", ".cc", ".py", ".sh"))
    return [f"{path.relative_to(root)}: {count} lines" for path, count in counts if count > MAX_LINES]


# rule: what is planted for it, and what it must then find
PLANTED = {
    upward_includes: (
        {
            "engine/src/base/error.h": '#include "base/bytes.h"\n#include <vector>\n',
            "engine/src/base/bytes.h": '#include "log/writer.h"\n',
            "engine/src/format/frame.h": '#include "base/bytes.h"\n#  include "file/mapped_file.h"\n',
            "engine/src/format/key.h": '#include "../log/writer.h"\n',
            "engine/src/file/mapped_file.h": '#include "format/frame.h"\n',
            "engine/src/log/writer.h": '#include "format/frame.h"\n#include <state/snapshot.h>\n',
            "engine/src/misc/odd.h": "",
        },
        ["engine/src/base/bytes.h: base must not include log/writer.h",
         "engine/src/file/mapped_file.h: file must not include format/frame.h",
         "engine/src/format/frame.h: format must not include file/mapped_file.h",
         "engine/src/format/key.h: format must not include ../log/writer.h",
         "engine/src/log/writer.h: log must not include state/snapshot.h",
         "engine/src/misc/odd.h: no such layer: misc"],
    ),
    writer_meets_reader: (
        {
            "engine/src/log/writer.cc": '#include "log/writer.h"\n#include "log/reader_cursor.h"\n',
            "engine/src/log/writer.h": '#include "log/segments.h"\n',
            "engine/src/log/segments.h": "",
            "engine/src/log/reader.h": '#include "middle.h"\n',
            "engine/src/log/middle.h": '#include "log/writer.h"\n',
            "engine/src/log/reader_cursor.h": "",
        },
        ["engine/src/log/writer.cc: reaches reader_cursor.h", "engine/src/log/reader.h: reaches writer.h"],
    ),
    system_headers_in_public: (
        {
            "engine/include/tailrace/good.h": '#include "tailrace/types.h"\n#include <string_view>\n'
                                              "#include <tl/expected.hpp>\n",
            "engine/include/tailrace/bad.h": "#include <sys/mman.h>\n#include <unistd.h>\n#include <immintrin.h>\n"
                                             "#include <boost/version.hpp>\n",
            "engine/include/tailrace/mapped_good.h": "#include <boost/container/map.hpp>\n",
        },
        [f"engine/include/tailrace/bad.h: includes {name}"
         for name in ("sys/mman.h", "unistd.h", "immintrin.h", "boost/version.hpp")],
    ),
    machine_code_elsewhere: (
        {
            MACHINE_FILE: "#ifdef __x86_64__\n#include <immintrin.h>\n#endif\n",
            "engine/src/base/pause.h": "// unlike __x86_64__ in a comment:\n_mm_pause();\n",
            "bench/raw.cc": "/* one\n two */\n#include <nmmintrin.h>\n",
            "bench/barrier.cc": 'asm volatile("" ::: "memory");\nasm volatile("mfence");\n',
        },
        ["engine/src/base/pause.h:2: _mm_pause", "bench/barrier.cc:2: asm volatile(\"m", "bench/raw.cc:3: nmmintrin.h"],
    ),
    strangers_at_top: (
        {"README.md": "", "build-asan/x": "", ".clang-format": "", "notes.txt": "", "src/a.cc": ""},
        ["notes.txt", "src"],
    ),
    long_files: (
        {"tools/long.py": "\n" * (MAX_LINES + 1), "tools/short.py": "\n" * MAX_LINES},
        ["tools/long.py: 401 lines"],
    ),
}


class Structure(unittest.TestCase):
    def test_repository_keeps_every_rule(self):
        for rule in PLANTED:
            with self.subTest(rule=rule.__name__):
                found = rule(SOURCE)
                self.assertFalse(found, "\n  " + "\n  ".join(found))

    def test_every_rule_can_fail(self):
        for rule, (tree, expected) in PLANTED.items():
            with self.subTest(rule=rule.__name__), tempfile.TemporaryDirectory() as folder:
                for name, text in tree.items():
                    path = pathlib.Path(folder, name)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(text)
                self.assertCountEqual(rule(pathlib.Path(folder)), expected)


if __name__ == "__main__":
    unittest.main(verbosity=2)
