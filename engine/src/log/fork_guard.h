#pragma once

namespace tailrace {

/// Something that must not be used in a child of fork(): told so in the child, right after the
/// fork. Registering takes a lock; the fork handlers hold it over the fork, so the list is whole.
class ForkGuard {
 public:
  ForkGuard();
  virtual ~ForkGuard();
  ForkGuard(const ForkGuard&) = delete;
  ForkGuard& operator=(const ForkGuard&) = delete;

  /// In the child's only thread; async-signal-safe calls only.
  virtual void forked() noexcept = 0;

 private:
  friend void tell_children() noexcept;
  ForkGuard* next_ = nullptr;
  ForkGuard* previous_ = nullptr;
};

}  // namespace tailrace
