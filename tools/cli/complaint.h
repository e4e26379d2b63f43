#pragma once

#include <fmt/format.h>

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace tailrace::cli {

/// What is wrong with a line of input, for people.
using Complaint = std::string;

[[nodiscard]] inline tl::unexpected<Complaint> complaint(Complaint what) {
  return tl::unexpected<Complaint>(std::move(what));
}

template <class... Args>
[[nodiscard]] tl::unexpected<Complaint> complaint(fmt::format_string<Args...> format,
                                                  Args&&... args) {
  return complaint(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace tailrace::cli
