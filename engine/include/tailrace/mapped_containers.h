#pragma once

#include <boost/container/map.hpp>
#include <boost/container/scoped_allocator.hpp>
#include <boost/container/string.hpp>
#include <boost/container/vector.hpp>
#include <boost/unordered_map.hpp>
#include <string_view>
#include <type_traits>

#include "tailrace/mapped_state.h"

/// Containers for mapped states. Each is made with an allocator: MappedState::allocator(), or what
/// the state's constructor was given. They hand it on to what they hold: map[key] makes its value
/// with it. All else is in Boost's documentation of the container.
namespace tailrace {

/// XXH3-64: the same in every process and build, as a hash map in a snapshot needs it.
[[nodiscard]] TAILRACE_EXPORT std::uint64_t stable_hash(std::string_view bytes) noexcept;

template <class T>
using ScopedStateAllocator = boost::container::scoped_allocator_adaptor<StateAllocator<T>>;

using MappedString =
    boost::container::basic_string<char, std::char_traits<char>, StateAllocator<char>>;

/// Lives as long as the string, and stays as it is.
[[nodiscard]] inline std::string_view view_of(const MappedString& text) noexcept {
  return {text.data(), text.size()};
}
[[nodiscard]] inline std::string_view view_of(std::string_view text) noexcept { return text; }

template <class T>
using MappedVector = boost::container::vector<T, ScopedStateAllocator<T>>;

/// Orders texts as bytes, MappedString and std::string_view alike, and all else by `<`.
struct MappedLess {
  using is_transparent = void;
  template <class A, class B>
  [[nodiscard]] bool operator()(const A& a, const B& b) const noexcept {
    if constexpr (requires { view_of(a), view_of(b); }) {
      return view_of(a) < view_of(b);
    } else {
      return a < b;
    }
  }
};

struct MappedEqual {
  template <class A, class B>
  [[nodiscard]] bool operator()(const A& a, const B& b) const noexcept {
    if constexpr (requires { view_of(a), view_of(b); }) {
      return view_of(a) == view_of(b);
    } else {
      return a == b;
    }
  }
};

/// Of texts and of plain numbers.
struct MappedHash {
  template <class Key>
  [[nodiscard]] std::size_t operator()(const Key& key) const noexcept {
    if constexpr (requires { view_of(key); }) {
      return stable_hash(view_of(key));
    } else {
      static_assert(std::has_unique_object_representations_v<Key>);
      return stable_hash({reinterpret_cast<const char*>(&key), sizeof key});
    }
  }
};

/// Sorted by key. find(std::string_view) where the keys are texts.
template <class Key, class Value>
using MappedMap = boost::container::map<Key, Value, MappedLess,
                                        ScopedStateAllocator<std::pair<const Key, Value>>>;

/// By hash. Where the keys are texts: find(view, MappedHash(), MappedEqual()).
template <class Key, class Value>
using MappedHashMap = boost::unordered_map<Key, Value, MappedHash, MappedEqual,
                                           ScopedStateAllocator<std::pair<const Key, Value>>>;

}  // namespace tailrace
