include(CMakeFindDependencyMacro)
find_dependency(tl-expected)  # Result<T> in the public headers
include(${CMAKE_CURRENT_LIST_DIR}/tailrace-targets.cmake)
