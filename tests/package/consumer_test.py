"""An outside project builds and runs against the installed package, and the library shows only its own namespace."""
# labels: slow

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

if os.environ.get("TAILRACE_SANITIZE"):
    sys.exit(77)  # the package of a sanitizer build is for nobody

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = pathlib.Path(os.environ["TAILRACE_SOURCE_DIR"])
BUILD = pathlib.Path(os.environ["TAILRACE_BUILD_DIR"])
VERSION = re.search(r"project\(tailrace VERSION ([0-9.]+)", (SOURCE / "CMakeLists.txt").read_text())[1]


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, **options)
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}")
    return done.stdout.strip()


def cache(name):
    return re.search(rf"^{name}:\w+=(.*)$", (BUILD / "CMakeCache.txt").read_text(), re.M)[1]


def foreign(demangled_symbols):
    """The symbols that are not of namespace tailrace."""
    what = r"((typeinfo|typeinfo name|vtable|VTT|guard variable|TLS \w+ function) for |non-virtual thunk to )?"
    return [symbol for symbol in demangled_symbols if not re.match(what + "tailrace::", symbol)]


def symbols(file, *options):
    """Demangled names of the symbols that a file defines."""
    lines = run("nm", "--defined-only", "-C", *options, file).splitlines()
    return [match[1] for line in lines if (match := re.match(r"[0-9a-f]+ \w (.*)", line))]


class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        root = pathlib.Path(cls.folder.name)
        run("cmake", "--install", BUILD, "--prefix", root / "installed")
        # Moved, because a package must not remember where it was installed first.
        cls.prefix = (root / "installed").rename(root / "moved")
        cls.libdir = next(cls.prefix.glob("lib*/**/libtailrace.so")).parent
        cls.compiler = cache("CMAKE_CXX_COMPILER")
        cls.pkg_config_path = dict(os.environ, PKG_CONFIG_PATH=str(cls.libdir / "pkgconfig"))

    def pkg_config(self, *options):
        return run("pkg-config", *options, "tailrace", env=self.pkg_config_path).split()

    def test_find_package(self):
        build = self.prefix.parent / "consumer"
        run("cmake", "-S", HERE / "consumer", "-B", build, f"-DCMAKE_PREFIX_PATH={self.prefix}",
            f"-DCMAKE_CXX_COMPILER={self.compiler}")
        run("cmake", "--build", build)
        self.assertEqual(run(build / "consumer"), VERSION)

    def test_pkg_config(self):
        program = self.prefix.parent / "by_pkg_config"
        run(self.compiler, "-std=c++20", HERE / "consumer/main.cc", "-o", program,
            *self.pkg_config("--cflags", "--libs"), f"-Wl,-rpath,{self.libdir}")
        self.assertEqual(run(program), VERSION)
        self.assertEqual(self.pkg_config("--modversion"), [VERSION])

    def test_every_header_stands_alone(self):
        for header in sorted((self.prefix / "include/tailrace").glob("*.h")):
            with self.subTest(header=header.name):
                run(self.compiler, "-std=c++20", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only",
                    *self.pkg_config("--cflags"), "-x", "c++", "-include", header, "/dev/null")

    def test_installed_command_line_finds_its_library(self):
        if cache("TAILRACE_BUILD_TOOLS") != "ON":
            self.skipTest("built without tools")
        environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
        self.assertIn(VERSION, run(self.prefix / "bin/tailrace", "--version", env=environment))

    def test_only_our_namespace_is_visible(self):
        exported = symbols(self.libdir / "libtailrace.so", "-D")
        self.assertIn("tailrace::version()", exported)
        self.assertEqual(foreign(exported), [])
        internal = symbols(BUILD / "lib/libtailrace_internal.a", "-g")
        self.assertLess(len(exported), len([symbol for symbol in internal if symbol.startswith("tailrace::")]))

    def test_the_rule_can_fail(self):
        planted = ["std::vector<tailrace::Key>::push_back(tailrace::Key&&)", "main", "typeinfo for std::foo"]
        self.assertEqual(foreign(planted + ["tailrace::version()", "vtable for tailrace::Error"]), planted)


if __name__ == "__main__":
    unittest.main(verbosity=2)
