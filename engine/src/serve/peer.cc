#include "serve/peer.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "base/planted.h"
#include "file/directory.h"

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

namespace tailrace {
namespace {

bool holds(const std::vector<std::uint32_t>& ids, std::uint32_t id) noexcept {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

}  // namespace

Result<Peer> peer_of(int socket) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return fail(sys_error("cannot tell who has connected", "", errno));
  }
  Peer peer{credentials.pid, credentials.uid, credentials.gid, {}};
  peer.groups.resize(32);
  for (;;) {
    size = static_cast<socklen_t>(peer.groups.size() * sizeof(gid_t));
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, peer.groups.data(), &size) == 0) break;
    if (errno != ERANGE) {
      size = 0;  // a kernel that does not tell
      break;
    }
    peer.groups.resize(size / sizeof(gid_t));
  }
  peer.groups.resize(size / sizeof(gid_t));
  return peer;
}

bool Admission::allows(const Peer& peer) const noexcept {
  if (peer.uid == owner_ || peer.uid == 0) return true;
  if (planted(Mistake::anybody_may_append)) return true;
  if (!others_) return false;
  if (all_) return true;
  if (holds(uids_, peer.uid) || holds(gids_, peer.gid)) return true;
  return std::any_of(peer.groups.begin(), peer.groups.end(),
                     [this](std::uint32_t gid) { return holds(gids_, gid); });
}

std::string Admission::refusal(const Peer& peer) const {
  if (others_) return fmt::format("user {} is not among those who may append", peer.uid);
  return fmt::format(
      "user {} is not the owner, and before Linux 6.16 others are let in only if they are trusted "
      "(tailrace serve --trust-clients)",
      peer.uid);
}

}  // namespace tailrace
