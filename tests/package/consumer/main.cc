#include <tailrace/version.h>

#include <cstdio>

int main() { std::puts(tailrace::version()); }
