#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "doctor/finding.h"
#include "doctor/mount.h"

namespace tailrace::doctor {

/// A mount as its line in /proc/self/mountinfo would make it.
inline Mount mounted(const std::string& type, const std::string& options,
                     const std::string& source = "/dev/sda1") {
  const auto mounts =
      parse_mountinfo("36 35 8:1 / /srv rw,relatime - " + type + " " + source + " " + options);
  EXPECT_EQ(mounts.size(), 1U);
  return mounts.at(0);
}

/// The only finding of that check whose text or fix holds `word`.
inline Finding the(const std::vector<Finding>& findings, const std::string& check,
                   const std::string& word = "") {
  std::vector<Finding> found;
  for (const Finding& finding : findings) {
    if (finding.check == check && finding.found.find(word) != std::string::npos) {
      found.push_back(finding);
    }
  }
  EXPECT_EQ(found.size(), 1U) << check << " with '" << word << "'";
  return found.empty() ? Finding{} : found.front();
}

template <class T>
T value(const Finding& finding, const std::string& name) {
  for (const auto& [each, value] : finding.values) {
    if (each == name) return std::get<T>(value);
  }
  ADD_FAILURE() << finding.check << " has no value " << name;
  return {};
}

inline std::string text_value(const Finding& finding, const std::string& name) {
  return value<std::string>(finding, name);
}

/// What every finding keeps: a text, and a fix exactly when there is something to fix.
inline void expect_whole(const Finding& finding) {
  EXPECT_FALSE(finding.check.empty());
  EXPECT_FALSE(finding.found.empty()) << finding.check;
  EXPECT_EQ(finding.fix.empty(), finding.level == Level::ok) << finding.found;
}

inline Finding whole(Finding finding) {
  expect_whole(finding);
  return finding;
}

inline std::vector<Finding> whole(std::vector<Finding> findings) {
  EXPECT_FALSE(findings.empty());
  for (const Finding& finding : findings) expect_whole(finding);
  return findings;
}

}  // namespace tailrace::doctor
