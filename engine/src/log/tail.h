#pragma once

#include <vector>

#include "log/judge.h"

namespace tailrace {

/// Finds what lies behind judgement.end and fills in tail, tail_bytes and tail_records. Headers of
/// later segments do not count: a segment that was only begun lost nothing.
[[nodiscard]] Result<void> find_tail(const LogFiles& files,
                                     const std::vector<std::uint64_t>& segments,
                                     Judgement& judgement);

}  // namespace tailrace
