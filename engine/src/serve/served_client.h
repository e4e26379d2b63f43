#pragma once

#include "serve/client_socket.h"
#include "serve/completion_ring.h"
#include "serve/parcels.h"
#include "serve/peer.h"
#include "serve/shared_file.h"
#include "serve/submission_ring.h"

namespace tailrace {

/// What a client has done so far.
struct ClientCounts {
  std::uint64_t requests = 0;
  std::uint64_t records = 0;
  std::uint64_t bytes = 0;
  std::uint64_t conflicts = 0;
  std::uint64_t duplicates = 0;
  std::uint64_t errors = 0;
  friend bool operator==(const ClientCounts&, const ClientCounts&) = default;
};

/// A client that was let in. Threads: the doorman's, then the loop's, then the doorman's again.
struct ServedClient {
  // What a turn touches comes first.
  SubmissionReader requests;
  CompletionWriter answers;
  ClientCounts counts;
  std::uint64_t ring_bytes = 0;
  std::uint32_t uid = 0;              // by the kernel's word
  bool stalled = false;               // requests wait, and it does not take its answers
  bool leaving = false;               // nothing of it is taken any more
  bool to_tell = false;               // answers were posted that it has not been told of
  bool shown = false;                 // has a slot in the table
  std::int64_t active_ns = 0;         // when it last had a request
  std::int64_t blocked_until_ns = 0;  // it has had more than its share
  std::uint64_t waiting = 0;          // answers that wait to be durable
  std::uint64_t stop_at = 0;          // while the server ends: take no further

  std::uint64_t number = 0;
  std::int64_t pid = 0;
  std::int64_t connected_ns = 0;
  std::size_t table_slot = 0;
  ClientCounts shown_counts;
  bool shown_stalled = false;
  std::uint64_t shown_waiting = 0;
  std::string why;  // it is leaving
  Parcels parcels;
  Mapping submission_file;
  Mapping completion_file;
  ClientSocket socket;
  Share share;
};

}  // namespace tailrace
