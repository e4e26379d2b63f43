#include "serve/parcels.h"

#include <fcntl.h>

#include <algorithm>

#include "base/planted.h"
#include "serve/message.h"
#include "serve/shared_file.h"

namespace tailrace {

bool Parcels::grant(int socket, const Parcel& asked, std::uint64_t max_bytes, Share& user) {
  Parcel granted{asked.ticket, 0};
  OpenParcel parcel;
  if (count_ < kMost && asked.size_bytes > 0 && asked.size_bytes <= max_bytes) {
    if (auto share = user.another(asked.size_bytes)) {
      if (auto file = make_parcel_file(asked.size_bytes)) {
        parcel = {asked.ticket, asked.size_bytes, std::move(*file), std::move(*share)};
        granted.size_bytes = asked.size_bytes;
      }
    }
  }
  if (!parcel.file) return send_message(socket, &granted, sizeof granted);
  const int fd = parcel.file.get();
  if (!send_message(socket, &granted, sizeof granted, &fd, 1)) return false;
  open_[count_++] = std::move(parcel);
  return true;
}

OpenParcel Parcels::take(std::uint64_t ticket) noexcept {
  while (count_ > 0) {
    OpenParcel first = std::move(open_[0]);
    std::move(open_.begin() + 1, open_.begin() + static_cast<std::ptrdiff_t>(count_),
              open_.begin());
    --count_;
    if (first.ticket == ticket) return first;
  }
  return {};
}

Result<Mapping> map_parcel(const OpenParcel& parcel) {
  const int seals = ::fcntl(parcel.file.get(), F_GET_SEALS);
  const bool sealed = (seals & F_SEAL_WRITE) != 0 || planted(Mistake::parcel_taken_unsealed);
  if (seals < 0 || !sealed) {
    return fail(Error(errc::invalid_argument, "the memory file is not sealed against writing"));
  }
  // Pages that are not there would become ours when we read them, and stay as long as the client
  // keeps the file. (By the seal it cannot make holes any more.)
  const auto size = static_cast<off_t>(parcel.size_bytes);
  if (::lseek(parcel.file.get(), 0, SEEK_HOLE) < size) {
    return fail(Error(errc::invalid_argument, "the memory file has holes"));
  }
  auto mapping = Mapping::map(parcel.file.get(), parcel.size_bytes, Access::read, "parcel");
  // What was swapped out takes memory when it is read, and there may be none.
  if (mapping && mapping->populate(0, parcel.size_bytes, Access::read)) return mapping;
  return fail(Error(errc::busy, "the server has no memory for this request now"));
}

}  // namespace tailrace
