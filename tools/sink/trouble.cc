#include "sink/trouble.h"

#include <fmt/format.h>

namespace tailrace::sink {

tl::unexpected<Trouble> fatal(std::string what, std::string next) {
  return tl::unexpected(Trouble{Trouble::Kind::fatal, std::move(what), std::move(next)});
}

Trouble not_of_a_record(Trouble trouble) {
  if (trouble.kind == Trouble::Kind::record) trouble.kind = Trouble::Kind::fatal;
  return trouble;
}

tl::unexpected<Trouble> belongs_to_another(const std::string& place, const std::string& sink,
                                           const std::string& log_id) {
  return fatal(fmt::format("{} belongs to sink {} of log {}", place, sink, log_id),
               "give the mapping another table, or the sink the other one's name");
}

tl::unexpected<Trouble> has_another_table(const std::string& place, const std::string& sink,
                                          const std::string& table) {
  return fatal(fmt::format("{}: sink {} has written into table {} so far", place, sink, table),
               "give the sink another name");
}

tl::unexpected<Trouble> lacks_column(const std::string& place, const Column& column) {
  return fatal(fmt::format("{} has no column {}", place, column.name),
               "add it (ALTER TABLE), or give sink and table new names to fill a new one");
}

tl::unexpected<Trouble> is_nobodys(const std::string& place, std::string next) {
  return fatal(fmt::format("{} is there already, and no sink's", place), std::move(next));
}

tl::unexpected<Trouble> stamp_moved(const std::string& place, const std::string& sink) {
  return tl::unexpected(Trouble{
      Trouble::Kind::lost,
      fmt::format("{}: the stamp of sink {} is not where this process left it", place, sink),
      "see that one sink of this name runs, and start it again"});
}

}  // namespace tailrace::sink
