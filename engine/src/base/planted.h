#pragma once

#include <cstdint>

#include "base/planted.h"

namespace tailrace {

/// Deliberate mistakes, to see that the tests notice them. tests/planted/run.py builds the one
/// build that has them (cmake -DTAILRACE_PLANTED=ON), chooses them one at a time by
/// TAILRACE_PLANT=NAME in the environment, and says which test caught which. In every other build
/// planted() is false at compile time: no code, no cost.
///
/// A new one is a line here, `if (!planted(Mistake::name))` at its place, and a line in run.py.
#define TAILRACE_MISTAKES(X)                                                                       \
  /* Publishing */                                                                                 \
  X(publish_size_before_payload, "a record's size is stored before its payload is copied")         \
  X(publish_batch_first_to_last, "a batch's first frame is published before the others")           \
  X(time_may_fall, "a record takes its time as it is, though the one before was later")            \
  X(claim_not_zeroed_on_abort, "bytes of a claim given back stay behind the end")                  \
  X(unfinished_claim_tail_not_zeroed, "what was claimed and not used stays behind the end")        \
  X(drop_the_epoch, "opening for writing begins no new epoch")                                     \
  /* What is valid */                                                                              \
  X(epoch_not_compared, "a record of any epoch is valid")                                          \
  X(crc_without_position, "a frame's checksum does not cover its position")                        \
  X(header_trusted_without_crc, "a segment header with the magic is right")                        \
  X(keep_half_a_batch, "the whole frames of an unfinished batch count as records")                 \
  X(links_not_checked, "a segment need not follow its predecessor")                                \
  /* Committing */                                                                                 \
  X(acknowledge_before_write, "a commit is durable as soon as its write is handed over")           \
  X(acknowledge_out_of_order, "an entry is durable though the one before it is not")               \
  X(ignore_write_result, "a failed or short journal write counts as done")                         \
  X(free_ring_before_anchor, "ring space is free before the anchor that says so is written")       \
  X(free_ring_by_one_anchor, "ring space is free though the older anchor still needs it")          \
  X(anchor_over_the_newest, "an anchor is written over the newest one")                            \
  X(anchor_ahead_of_durable, "an anchor speaks of what is synced and not acknowledged")            \
  X(sync_one_page_more, "an fsync of a range takes in the page behind it")                         \
  X(large_commit_not_synced, "a large commit's entry does not wait for the fsync before it")       \
  X(prove_during_large_commit, "an empty entry speaks of a large commit that is half synced")      \
  X(go_on_after_failure, "a writer whose disk failed goes on acknowledging")                       \
  X(retry_failed_sync, "a failed fsync of a segment is tried again, and believed")                 \
  /* Damage or the end */                                                                          \
  X(damage_is_a_torn_tail, "damage below the floor is cut like a torn tail")                       \
  X(segment_file_is_no_witness, "segment n + 2 does not say that n had been durable")              \
  X(another_boot_trusted, "control counts as written in this boot")                                \
  X(crc_failure_is_end, "a reader takes a wrong checksum for the end")                             \
  X(no_second_look, "a reader does not look again before it says corrupt")                         \
  /* Recovery */                                                                                   \
  X(no_zeroing_after_torn_tail, "a tail that was cut stays in the segment")                        \
  X(later_segments_kept, "segments behind the end stay")                                           \
  X(removal_not_synced, "the directory is not synced after segments were removed")                 \
  X(settled_segment_not_synced, "a recovered segment is not synced")                               \
  X(salvage_overwritten, "a recovery done again saves what is left of the tail over it")           \
  X(salvage_not_synced, "a tail is zeroed before its copy's name is durable")                      \
  X(epoch_of_control_ignored, "an epoch that was announced and left no frame comes again")         \
  X(generation_made_odd_too_late, "readers are warned of a recovery when it is done")              \
  X(lock_only_writer_lock, "a dead writer's last write to the journal is not waited for")          \
  X(keep_the_nonce, "a new epoch's journal goes on with the old nonce")                            \
  X(chain_not_checked, "an entry need not carry its predecessor's checksum")                       \
  X(evidence_ignored, "a damaged entry is a torn end though a later one proves it acknowledged")   \
  X(acknowledged_ignored, "the journal may end before what control calls acknowledged")            \
  X(overlay_ignored, "what is only in the journal is not looked at")                               \
  X(trust_cached_pages, "what the page cache holds is not written again")                          \
  /* Files */                                                                                      \
  X(lock_not_taken, "a writer does not mind that another one holds the lock")                      \
  X(forked_child_keeps_lock, "the lock outlives the writer in a forked child")                     \
  X(close_without_sync, "close does not wait until all is durable")                                \
  X(blocks_not_reserved, "a segment is made as a hole")                                            \
  X(segment_not_synced, "a prepared segment is renamed before it is synced")                       \
  X(skip_directory_fsync, "a prepared segment's name is not synced")                               \
  X(segment_made_too_early, "segment n + 2 is made before n is durable")                           \
  X(mode_published_too_early, "the group may read a segment that is not begun")                    \
  /* Readers and waking */                                                                         \
  X(no_generation_check, "a record is delivered though a recovery began meanwhile")                \
  X(reader_skips_batch_check, "a batch is delivered without a look at its end")                    \
  X(durable_reader_reads_committed, "a durable reader goes on to what is only committed")          \
  X(no_wake_on_publish, "an append wakes nobody")                                                  \
  X(no_last_look, "a reader goes to sleep without a last look for news")                           \
  X(no_bump_in_helper, "arming does not change the word that readers sleep on")                    \
  X(no_membarrier, "arming puts no barrier into the appender's thread")                            \
  X(watch_forgets_new_place, "a watch that is asked anew while it looks forgets the new place")    \
  X(event_emptied_after_asking, "the event is read empty after the watch has been asked")          \
  X(stop_rings_no_event, "stop() does not make the event readable")                                \
  X(armed_for_ever, "an append that wakes does not disarm: the next one wakes again")              \
  /* Other users */                                                                                \
  X(wake_takes_anything, "who may announce himself may send descriptors along")                    \
  X(arm_as_often_as_asked, "a storm on the wake socket is answered as fast as it comes")           \
  X(anybodys_mode, "a file or directory that others may write counts")                             \
  X(anybodys_directory, "segments/ may belong to somebody else")                                   \
  /* Consumers */                                                                                  \
  X(slot_without_crc, "a slot counts though its checksum is wrong")                                \
  X(older_slot_taken, "of two right slots the older one counts")                                   \
  X(one_slot_only, "all commits go into one slot")                                                 \
  X(consumer_not_synced, "a durable commit is not fsynced")                                        \
  X(owner_by_pid_alone, "an owner lives as long as his file names a pid")                          \
  X(stamp_not_checked, "a consumer goes on behind its sequence, whatever stands there")            \
  X(gate_epoch_ignored, "a gate's progress counts though its records are not in the log")          \
  X(gate_by_name, "a gate made anew under the same name is the same gate")                         \
  X(gate_not_asked_for_durable, "a gate's progress counts before it is durable")                   \
  X(commit_goes_back, "a commit of an earlier stamp goes back")                                    \
  X(filtered_not_passed, "what the filter passed over is never committed")                         \
  X(gate_removal_unnoticed, "a gate that was removed goes on counting")                            \
  /* Retention */                                                                                  \
  X(files_trimmed_first, "files go before an anchor says that they are gone")                      \
  X(control_trimmed_first, "readers are told of a trim before an anchor is")                       \
  X(trimmed_control_not_synced, "files go while control says so only in the page cache")           \
  X(one_anchor_for_a_trim, "files go though the older anchor still wants them")                    \
  X(trimmed_newest_first, "a trim removes the newest files first")                                 \
  X(trimmed_index_kept, "a removed segment's index file stays")                                    \
  X(left_overs_kept, "what an interrupted trim left stays for ever")                               \
  X(newest_segment_trimmed, "a trim takes what is not synced, and the segment being written")      \
  X(trim_past_a_pin, "a trim takes what a retaining consumer needs")                               \
  X(trimmed_is_corrupt, "a reader takes a removed segment for damage")                             \
  X(age_by_wall_clock_alone, "a clock that jumps ahead makes all records old")                     \
  X(punched_without_a_word, "a reader is not warned that bytes turn to zeros under it")            \
  /* Leases */                                                                                     \
  X(expired_lease_holds, "a fence lets a holder pass whose time is over")                          \
  X(acquire_ignores_holder, "a lease is given though somebody holds it")                           \
  X(token_without_epoch, "of a token only the sequence counts")                                    \
  X(restart_forgets_leases, "a writer that opens the log knows of no lease")                       \
  X(renewal_forgotten, "a renewal is granted and changes nothing")                                 \
  X(lease_answered_early, "a lease is given before its record is durable")                         \
  X(removed_lease_is_forgotten, "what a lease's record said goes with its segment")                \
  X(lease_has_a_type, "a query by type, or of all, finds records of leases")                       \
  /* Keys */                                                                                       \
  X(growth_cuts_a_cluster, "the key index stops moving slots in the middle of a cluster")          \
  X(key_compared_by_hash_only, "two keys of one hash are taken for one")                           \
  X(a_release_is_forgotten, "a released key is not absent")                                        \
  X(a_release_changes_nothing, "a key is unchanged though it was released")                        \
  X(beyond_the_end_is_unchanged, "a condition may speak of records that are not there")            \
  X(conflict_answered_early, "a conflict does not wait for what made it to be durable")            \
  X(only_the_first_condition, "of several conditions only the first is judged")                    \
  X(keys_block_not_checked, "a damaged block of a keys file is believed")                          \
  X(base_misses_the_last_segment, "keys/base does not cover the newest segment that goes")         \
  X(trimmed_before_base, "segments go though keys/base does not cover them")                       \
  X(no_base_is_an_empty_base, "a missing or damaged keys/base counts as one without keys")         \
  X(incomplete_base_heals, "the base after one that was damaged says it knows all")                \
  X(checkpoint_ahead_of_durable, "a checkpoint holds what a power cut may take back")              \
  X(checkpoint_of_another_history, "a checkpoint need not fit the segment behind it")              \
  X(no_match_ignores_types, "a query is matched by records of any type")                           \
  X(no_match_by_the_first_key, "of an item's keys only the first has to be there")                 \
  X(walk_ends_where_keys_part, "a walk ends at the first record that not all keys have")           \
  X(after_is_inclusive, "the record that a query asks behind may match")                           \
  X(types_not_caught_up, "records of the last few KiB have no type")                               \
  X(types_forgotten_at_a_roll, "the table of types misses the end of each segment")                \
  X(budget_of_each_item, "each item of a query may take as long as a request")                     \
  X(twins_are_mixed_up, "of two keys of one hash the index may take the other one's release")      \
  X(twins_share_an_entry, "two keys of one hash that stood alike are noted in one entry")          \
  X(full_segment_is_left, "a segment is unmapped when it is full, before the next one is begun")   \
  X(removed_is_no_match, "no match among what is left is no match")                                \
  X(condition_checked_before_id, "a retry of a winner is a conflict")                              \
  X(duplicate_ignores_digest, "other records under an event id are a duplicate")                   \
  X(duplicate_answered_early, "a duplicate does not wait for what it repeats to be durable")       \
  X(id_window_off_by_one, "one event id more than stated is remembered")                           \
  X(id_noted_before_publish, "an append that fails leaves its event id behind")                    \
  X(id_of_any_user, "two users' equal event ids are one")                                          \
  X(id_compared_by_hash_only, "two event ids of one hash are taken for one")                       \
  X(left_ids_stay, "event ids that have left the window stay when the index grows")                \
  X(history_trusts_the_hash, "a reader takes a key of the same hash for the one asked for")        \
  X(tail_not_folded_again, "a second question is answered as of the first one")                    \
  X(removed_base_ignored, "a key is not there though what was removed is not known")               \
  X(taken_back_stays_known, "keys of records that a recovery took back stay known")                \
  X(taken_back_is_delivered, "a history goes on though a recovery took its records back")          \
  X(chain_record_not_checked, "a record on a key's chain is delivered without its checksum")       \
  X(sent_again_without_id, "a lost server's requests are sent again whether they have ids or not") \
  X(sent_again_out_of_order, "a lost server's requests are sent again the newest first")           \
  X(sent_again_as_another, "requests are sent again though the server takes us for another user")  \
  X(posted_answers_forgotten, "what a server had answered before it died is not looked at")        \
  X(lost_requests_stay_silent, "who asked a lost server, without an id, is not told")              \
  X(answers_to_nothing, "an answer to a request that is not under way is handed out")              \
  X(client_sleeps_without_a_last_look, "a client sleeps without looking for an answer again")      \
  X(event_ids_repeat, "a client gives all its requests one event id")                              \
  X(unsealed_memory_taken, "a client maps memory that the server can make shorter")                \
  X(keys_of_a_refused_batch_stay, "a batch that is refused half-way leaves its keys in the index") \
  /* Serving */                                                                                    \
  X(anybody_may_append, "the server lets everybody in")                                            \
  X(peer_not_asked, "event ids of all clients count as the server's own user's")                   \
  X(time_of_clients_trusted, "a client may append records of next year")                           \
  X(answer_before_durable, "an answer that promises durability does not wait for it")              \
  X(sleeps_without_a_last_look, "the server sleeps without having looked at the rings again")      \
  X(length_looked_at_again, "an entry's length is read from the ring again once it is checked")    \
  X(key_read_in_the_ring, "a request is decoded where its client can still change it")             \
  X(answers_taken_believed, "how many answers a client says it has taken is not checked")          \
  X(slot_not_reserved, "a request is taken though there is no room for its answer")                \
  X(parcel_taken_unsealed, "a memory file is read though its client can still change it")          \
  X(sent_away_untold, "who is sent away is not told what was decided for him")                     \
  X(stalled_slept_through, "nothing wakes the server for who takes his answers late")              \
  X(hearing_is_free, "what a client says over its socket is no part of its share")                 \
  X(clock_stays_ahead, "the clock of the server's loop stays ahead after a suspension")            \
  /* Snapshots */                                                                                  \
  X(snapshot_header_without_crc, "a snapshot's header counts though its checksum is wrong")        \
  X(body_digest_not_compared, "a snapshot's body is whole if it has its size")                     \
  X(schema_not_compared, "a snapshot of any schema is used")                                       \
  X(snapshot_not_synced, "a snapshot is renamed before it is synced")                              \
  X(snapshot_ahead_of_durable, "a snapshot is visible before its record is durable")               \
  X(snapshot_child_keeps_locks, "the child that writes a snapshot keeps all descriptors")          \
  X(newest_snapshot_pruned, "of the snapshots the newest ones go")                                 \
  X(left_over_of_a_living_writer, "a file that somebody is writing is a left-over")                \
  /* Projections */                                                                                \
  X(consumer_not_put_back,                                                                         \
    "a projection's consumer stays ahead of the snapshot that it begins at")                       \
  X(committed_before_folded, "a projection commits records that it is about to fold")              \
  X(half_folded_kept, "a state that a fold has thrown out of is kept as a snapshot")               \
  X(snapshot_named_later, "a snapshot says it has records that are not folded yet")                \
  X(trimmed_is_skipped, "a projection goes on without records that it needs and that are gone")    \
  X(oldest_snapshot_not_held, "the log is held for the newest snapshot only")                      \
  X(alias_switched_early,                                                                          \
    "a name goes to a version that has not come as far as the one before it")                      \
  X(alias_stays_ahead, "a version that begins again leaves its name's progress where it was")      \
  X(as_of_one_too_many, "a state as of a record has the next one in it as well")                   \
  /* Sinks */                                                                                      \
  X(sink_stamp_outside, "the stamp moves in a transaction of its own, after the rows'")            \
  X(sink_stamp_before_rows, "and before the rows'")                                                \
  X(sink_stamp_not_compared, "nobody looks whether the stamp was where we left it")                \
  X(sink_trusts_consumer, "a sink goes on from its consumer's file, not from the store's stamp")   \
  X(sink_commits_first, "the consumer commits what the store does not have yet")                   \
  X(sink_skips_bad_record, "a record that cannot be stored is passed over")                        \
  X(sink_forgets_set_aside, "which keys were stopped is not remembered over a restart")            \
  X(dead_letter_without_id, "what is set aside twice is there twice")                              \
  X(redis_older_wins, "an older record overwrites a newer row")                                    \
  X(redis_stamp_not_compared, "a Redis that has forgotten the stamp is not noticed")

enum class Mistake : std::uint8_t {
  none,
#define TAILRACE_MISTAKE(name, why) name,
  TAILRACE_MISTAKES(TAILRACE_MISTAKE)
#undef TAILRACE_MISTAKE
};

#ifdef TAILRACE_PLANTED
/// What the environment asks for, read once. An unknown name ends the process with a message.
[[nodiscard]] Mistake planted_mistake() noexcept;
/// For a mistake's own code: widens the window in which a race shows it.
void planted_pause(unsigned microseconds) noexcept;

[[nodiscard]] inline bool planted(Mistake mistake) noexcept { return planted_mistake() == mistake; }
#else
constexpr void planted_pause(unsigned) noexcept {}
[[nodiscard]] constexpr bool planted(Mistake) noexcept { return false; }
#endif

}  // namespace tailrace
