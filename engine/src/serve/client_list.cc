#include "serve/client_list.h"

#include <fcntl.h>

#include <algorithm>

#include "format/client_table.h"
#include "log/control_file.h"

namespace tailrace {
namespace {

ClientInfo info_of(const ServedClient& connection) {
  ClientInfo info;
  info.client = connection.number;
  info.pid = connection.pid;
  info.uid = connection.uid;
  info.requests = connection.counts.requests;
  info.records = connection.counts.records;
  info.bytes = connection.counts.bytes;
  info.conflicts = connection.counts.conflicts;
  info.duplicates = connection.counts.duplicates;
  info.errors = connection.counts.errors;
  info.in_flight = connection.waiting;
  info.stalled = connection.stalled;
  info.connected_ns = connection.connected_ns;
  return info;
}

/// A file of zeros beside the place where it is going to be.
Result<Mapping> make_file(const LogFiles& files, const std::string& name, std::size_t size_bytes) {
  const std::string path = files.root.path_of(name);
  auto file = files.root.open_file(name, O_RDWR | O_CREAT | O_TRUNC, 0640);
  if (!file) return fail(file.error());
  if (auto done = reserve(file->get(), size_bytes, path); !done) return fail(done.error());
  return Mapping::map(file->get(), size_bytes, Access::write, path);
}

}  // namespace

void ClientList::open(const LogFiles& files, Epoch epoch, std::size_t slots) {
  const std::string beside = std::string(".") + kName + ".new";
  auto file = make_file(files, beside, client_table_bytes(slots));
  if (!file) {
    static_cast<void>(files.root.remove(beside));
    static_cast<void>(files.root.remove(kName));
    return;
  }
  init_client_table(file->data(), files.meta, epoch, static_cast<std::uint32_t>(slots));
  if (!files.root.rename(beside, kName)) return;
  file_ = std::move(*file);
  free_.resize(slots);
  for (std::size_t i = 0; i < slots; ++i) free_[i] = slots - 1 - i;
}

void ClientList::close(const LogFiles& files) {
  if (!file_) return;
  static_cast<void>(files.root.remove(kName));
  file_ = {};
}

void ClientList::show(ServedClient& connection) {
  if (up_to_date(connection)) return;
  if (!connection.shown) {
    if (free_.empty()) return;
    connection.table_slot = free_.back();
    free_.pop_back();
    connection.shown = true;
  }
  connection.shown_counts = connection.counts;
  connection.shown_stalled = connection.stalled;
  connection.shown_waiting = connection.waiting;
  write_client_slot(file_.data(), connection.table_slot, info_of(connection));
}

void ClientList::remove(ServedClient& connection) {
  if (!connection.shown) return;
  write_client_slot(file_.data(), connection.table_slot, {});
  free_.push_back(connection.table_slot);
  connection.shown = false;
}

Result<std::vector<ClientInfo>> list_clients(const std::filesystem::path& path) {
  auto files = LogFiles::open(path);
  if (!files) return fail(files.error());
  auto control = ControlFile::open(*files, Access::read);
  if (!control) return fail(control.error());
  std::vector<ClientInfo> clients;
  if (!control->writer_alive()) return clients;
  auto file = files->open_owned(files->root, ClientList::kName, Mapping::read_flags());
  if (!file) {
    if (file.error().code() == errc::not_found) return clients;
    return fail(file.error());
  }
  const std::string name = files->root.path_of(ClientList::kName);
  auto size = file_size(file->get(), name);
  if (!size) return fail(size.error());
  if (*size < sizeof(ClientTableHeader)) return clients;
  auto mapping = Mapping::map(file->get(), *size, Access::read, name);
  if (!mapping) return fail(mapping.error());
  const std::size_t slots =
      client_table_slots(mapping->data(), *size, files->meta, control->view().writer().epoch);
  for (std::size_t i = 0; i < slots; ++i) {
    if (auto info = read_client_slot(mapping->data(), i)) clients.push_back(*info);
  }
  std::sort(clients.begin(), clients.end(),
            [](const ClientInfo& a, const ClientInfo& b) { return a.client < b.client; });
  return clients;
}

}  // namespace tailrace
