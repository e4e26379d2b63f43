#!/usr/bin/env python3
"""Plants every mistake of engine/src/base/planted.h, one at a time, and says which test notices.

Builds build-planted (cmake -DTAILRACE_PLANTED=ON), sees that without a mistake all tests pass, then runs for each
mistake the tests below that are known to catch it, and if none of them does, all there are.

Exit: 0 every mistake is caught, 6 some are not (tests are missing), 1 no build or tests that fail without a mistake,
2 wrong usage or a table that does not fit the engine.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
HEADER = SOURCE / "engine/src/base/planted.h"
BUILD = SOURCE / "build-planted"
TEST_SECONDS = 180  # a mistake may make a test hang, which counts as caught

# Who is likely to catch it, the quickest first: names of ctest.
CATCHERS = {
    # Publishing
    "publish_size_before_payload": ["race_publish_test"],
    "publish_batch_first_to_last": ["race_publish_test"],
    "time_may_fall": ["log_log_test"],
    "claim_not_zeroed_on_abort": ["log_log_test"],
    "unfinished_claim_tail_not_zeroed": ["log_log_test"],
    "drop_the_epoch": ["log_log_test"],
    # Committing
    "acknowledge_before_write": ["fault_poison_test"],
    "acknowledge_out_of_order": ["power_simulated_cut_test"],
    "ignore_write_result": ["fault_poison_test"],
    "free_ring_before_anchor": ["power_failing_disk_test", "recovery_damage_campaign_test"],
    "free_ring_by_one_anchor": ["log_ring_test"],
    "anchor_over_the_newest": ["format_crashed_test"],
    "anchor_ahead_of_durable": ["power_simulated_cut_test"],
    "sync_one_page_more": ["fault_sync_range_test"],
    "large_commit_not_synced": ["fault_poison_test"],
    "prove_during_large_commit": ["fault_poison_test"],
    "go_on_after_failure": ["fault_poison_test"],
    "retry_failed_sync": ["fault_poison_test"],
    "lock_only_writer_lock": ["log_commit_test"],
    "keep_the_nonce": ["cli_repair_test", "power_simulated_cut_test"],
    "chain_not_checked": ["format_journal_test"],
    "evidence_ignored": ["format_crashed_test"],
    "acknowledged_ignored": ["format_crashed_test"],
    "overlay_ignored": ["format_crashed_test"],
    # What is valid
    "epoch_not_compared": ["format_frame_validity_test"],
    "crc_without_position": ["format_frame_validity_test"],
    "header_trusted_without_crc": ["format_segment_header_test"],
    "keep_half_a_batch": ["recovery_tail_test"],
    "links_not_checked": ["recovery_history_test"],
    # Damage or the end
    "damage_is_a_torn_tail": ["recovery_damage_test"],
    "segment_file_is_no_witness": ["recovery_damage_test"],
    "another_boot_trusted": ["recovery_tail_test"],
    "crc_failure_is_end": ["recovery_damage_test"],
    "no_second_look": ["race_follow_test"],
    # Recovery
    "no_zeroing_after_torn_tail": ["recovery_tail_test"],
    "later_segments_kept": ["fault_order_test"],
    "removal_not_synced": ["fault_order_test"],
    "trust_cached_pages": ["fault_order_test"],
    "settled_segment_not_synced": ["fault_order_test"],
    "salvage_overwritten": ["recovery_history_test"],
    "salvage_not_synced": ["fault_order_test"],
    "epoch_of_control_ignored": ["recovery_epoch_test"],
    "generation_made_odd_too_late": ["fault_order_test"],
    # Files
    "lock_not_taken": ["log_log_test"],
    "forked_child_keeps_lock": ["race_process_test"],
    "close_without_sync": ["recovery_damage_test"],
    "blocks_not_reserved": ["fault_order_test"],
    "segment_not_synced": ["fault_order_test"],
    "skip_directory_fsync": ["fault_order_test"],
    "segment_made_too_early": ["fault_order_test"],
    "mode_published_too_early": ["fault_order_test"],
    # Retention
    "files_trimmed_first": ["retention_interrupted_test"],
    "control_trimmed_first": ["retention_interrupted_test"],
    "trimmed_control_not_synced": ["retention_interrupted_test"],
    "one_anchor_for_a_trim": ["retention_interrupted_test"],
    "trimmed_newest_first": ["retention_interrupted_test"],
    "trimmed_index_kept": ["retention_trim_test"],
    "left_overs_kept": ["retention_trim_test"],
    "newest_segment_trimmed": ["retention_trim_test"],
    "trim_past_a_pin": ["retention_retain_test"],
    "trimmed_is_corrupt": ["retention_reader_test"],
    "age_by_wall_clock_alone": ["retention_retain_test"],
    "punched_without_a_word": ["retention_reader_test"],
    # Readers and waking
    "no_generation_check": ["race_publish_test"],
    "reader_skips_batch_check": ["recovery_tail_test"],
    "durable_reader_reads_committed": ["log_log_test"],
    "no_wake_on_publish": ["race_process_test", "race_wake_test"],
    "no_last_look": ["race_arm_test"],
    "no_bump_in_helper": ["race_wake_test"],
    "no_membarrier": ["race_arm_test"],
    "watch_forgets_new_place": ["race_event_test"],
    "event_emptied_after_asking": ["race_event_test"],
    "stop_rings_no_event": ["race_event_test"],
    "armed_for_ever": ["race_process_test"],
    # Other users
    "wake_takes_anything": ["access_cost_test"],
    "arm_as_often_as_asked": ["access_cost_test"],
    "anybodys_mode": ["access_forbidden_test"],
    "anybodys_directory": ["access_forbidden_test"],
    # Consumers
    "slot_without_crc": ["consumers_file_test"],
    "older_slot_taken": ["consumers_consumer_test"],
    "one_slot_only": ["consumers_file_test"],
    "consumer_not_synced": ["consumers_durable_test"],
    "owner_by_pid_alone": ["consumers_file_test"],
    "stamp_not_checked": ["consumers_stamp_test"],
    "gate_epoch_ignored": ["consumers_stamp_test"],
    "gate_by_name": ["consumers_gate_test"],
    "gate_not_asked_for_durable": ["consumers_gate_test"],
    "commit_goes_back": ["consumers_consumer_test"],
    "filtered_not_passed": ["consumers_consumer_test"],
    "gate_removal_unnoticed": ["consumers_gate_test"],
    # Leases
    "expired_lease_holds": ["log_lease_test"],
    "acquire_ignores_holder": ["log_lease_test"],
    "token_without_epoch": ["log_lease_test"],
    "restart_forgets_leases": ["log_lease_restart_test"],
    "renewal_forgotten": ["log_lease_test"],
    "lease_answered_early": ["log_lease_test"],
    "removed_lease_is_forgotten": ["log_lease_restart_test"],
    "lease_has_a_type": ["log_lease_test"],
    # Keys
    "growth_cuts_a_cluster": ["keys_key_index_test"],
    "keys_of_a_refused_batch_stay": ["log_keys_test"],
    "history_trusts_the_hash": ["log_keys_find_test"],
    "tail_not_folded_again": ["log_keys_find_test"],
    "removed_base_ignored": ["log_keys_find_test"],
    "taken_back_stays_known": ["log_keys_find_test"],
    "taken_back_is_delivered": ["log_history_test"],
    "chain_record_not_checked": ["log_damaged_history_test"],
    "key_compared_by_hash_only": ["log_keys_test"],
    "a_release_is_forgotten": ["log_conditions_test"],
    "a_release_changes_nothing": ["log_conditions_test"],
    "beyond_the_end_is_unchanged": ["log_conditions_test"],
    "only_the_first_condition": ["log_conditions_test"],
    "conflict_answered_early": ["log_conditions_test"],
    "keys_block_not_checked": ["log_removed_keys_test"],
    "base_misses_the_last_segment": ["log_removed_keys_test"],
    "trimmed_before_base": ["log_removed_keys_test"],
    "no_base_is_an_empty_base": ["log_removed_keys_test"],
    "incomplete_base_heals": ["log_removed_keys_test"],
    "checkpoint_ahead_of_durable": ["fault_checkpoint_test"],
    "checkpoint_of_another_history": ["log_checkpoint_test"],
    "twins_are_mixed_up": ["log_conditions_test"],
    "twins_share_an_entry": ["log_conditions_test"],
    "full_segment_is_left": ["log_no_match_test"],
    "no_match_ignores_types": ["log_no_match_test"],
    "no_match_by_the_first_key": ["log_no_match_test"],
    "walk_ends_where_keys_part": ["log_no_match_test"],
    "after_is_inclusive": ["log_no_match_test"],
    "types_not_caught_up": ["log_no_match_test"],
    "types_forgotten_at_a_roll": ["log_no_match_test"],
    "budget_of_each_item": ["log_no_match_test"],
    "removed_is_no_match": ["log_no_match_test"],
    "condition_checked_before_id": ["log_event_ids_test"],
    "duplicate_ignores_digest": ["log_event_ids_test"],
    "duplicate_answered_early": ["log_event_ids_test"],
    "id_window_off_by_one": ["keys_event_id_index_test"],
    "id_noted_before_publish": ["log_event_ids_test"],
    "id_of_any_user": ["log_event_ids_test"],
    "id_compared_by_hash_only": ["log_event_ids_model_test"],
    "left_ids_stay": ["keys_event_id_index_test"],
    # Serving
    "anybody_may_append": ["serve_users_test"],
    "peer_not_asked": ["serve_users_test"],
    "time_of_clients_trusted": ["serve_server_test"],
    "answer_before_durable": ["serve_durable_test"],
    "sleeps_without_a_last_look": ["serve_wake_test"],
    "length_looked_at_again": ["serve_hostile_rules_test"],
    "key_read_in_the_ring": ["serve_hostile_test"],
    "answers_taken_believed": ["serve_hostile_rules_test"],
    "slot_not_reserved": ["serve_hostile_rules_test"],
    "parcel_taken_unsealed": ["serve_server_test"],
    "sent_away_untold": ["serve_durable_test"],
    "stalled_slept_through": ["serve_hostile_rules_test"],
    "hearing_is_free": ["serve_share_test"],
    "clock_stays_ahead": ["serve_loop_clock_test"],
    # A client's side of serving
    "sent_again_without_id": ["serve_client_lost_test"],
    "sent_again_out_of_order": ["serve_client_lost_test"],
    "sent_again_as_another": ["serve_client_lost_test"],
    "posted_answers_forgotten": ["serve_client_lost_test"],
    "lost_requests_stay_silent": ["serve_client_lost_test"],
    "answers_to_nothing": ["serve_client_scripted_test"],
    "client_sleeps_without_a_last_look": ["serve_client_test"],
    "event_ids_repeat": ["serve_client_scripted_test"],
    "unsealed_memory_taken": ["serve_client_scripted_test"],
    # Snapshots
    "snapshot_header_without_crc": ["format_snapshot_header_test"],
    "body_digest_not_compared": ["state_snapshot_damage_test"],
    "schema_not_compared": ["state_snapshot_test"],
    "snapshot_not_synced": ["state_snapshot_interrupted_test"],
    "snapshot_ahead_of_durable": ["state_snapshot_test"],
    "snapshot_child_keeps_locks": ["state_snapshot_child_test"],
    "newest_snapshot_pruned": ["state_snapshot_test"],
    "left_over_of_a_living_writer": ["state_snapshot_child_test"],
    # Sinks
    "sink_stamp_outside": ["sink_sqlite_test"],
    "sink_stamp_before_rows": ["sink_sqlite_test"],
    "sink_stamp_not_compared": ["sink_sqlite_test"],
    "sink_trusts_consumer": ["sink_sqlite_test"],
    "sink_commits_first": ["sink_sqlite_test"],
    "sink_skips_bad_record": ["sink_sqlite_test"],
    "sink_forgets_set_aside": ["sink_sqlite_test"],
    "dead_letter_without_id": ["sink_sqlite_test"],
    "redis_older_wins": ["sink_redis_test"],
    "redis_stamp_not_compared": ["sink_redis_test"],
    # Projections
    "consumer_not_put_back": ["state_projection_test"],
    "committed_before_folded": ["state_projection_test"],
    "half_folded_kept": ["state_projection_test"],
    "snapshot_named_later": ["state_projection_fallback_test"],
    "trimmed_is_skipped": ["state_projection_fallback_test"],
    "oldest_snapshot_not_held": ["state_projection_fallback_test"],
    "alias_switched_early": ["state_projection_versions_test"],
    "alias_stays_ahead": ["state_projection_versions_test"],
    "as_of_one_too_many": ["state_projection_as_of_test"],
}


def mistakes():
    """Name -> what is wrong then, in the order of the header."""
    text = re.sub(r"\\\n", "", HEADER.read_text())
    return dict(re.findall(r'X\((\w+),\s*"((?:[^"\\]|\\.)*)"\)', text))


def planted_nowhere(names):
    code = "\n".join(path.read_text() for folder in ("engine/src", "tools/sink")
                     for path in (SOURCE / folder).rglob("*.[ch]*"))
    return [name for name in names if not re.search(rf"\bMistake::{name}\b", code)]


def programs(tests):
    """The targets that have to be built for these tests; none: all there are, for scripts run any of them."""
    names = {"_".join(path.relative_to(SOURCE / "tests").with_suffix("").parts)
             for path in (SOURCE / "tests").rglob("*_test.cc")}
    return tests if set(tests) <= names else []


def build(jobs, targets=()):
    generator = [] if (BUILD / "CMakeCache.txt").exists() else ["-G", "Ninja"]
    for command in (["cmake", "-S", SOURCE, "-B", BUILD, *generator, "-DTAILRACE_PLANTED=ON",
                     "-DTAILRACE_BUILD_TESTS=ON", "-DTAILRACE_BUILD_BENCH=OFF"],
                    ["cmake", "--build", BUILD, "--parallel", str(jobs), *(["--target", *targets] if targets else [])]):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{done.stdout[-4000:]}\ncannot build {BUILD}")


def run_tests(mistake, names, jobs):
    """Runs these tests (all, without names) under a mistake. Returns [(test, what failed in it)]."""
    environment = dict(os.environ, TAILRACE_PLANT=mistake, GTEST_FAIL_FAST="1", GTEST_COLOR="no")
    which = ["-R", f"^({'|'.join(names)})$"] if names else []
    done = subprocess.run(["ctest", "--test-dir", BUILD, "--output-on-failure", "--no-tests=error", "--timeout",
                           str(TEST_SECONDS), "--parallel", str(jobs), *which],
                          env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", check=False)
    failed = [(match[1], match[2]) for match in
              re.finditer(r"^\s*\d+/\d+ Test +#\d+: (\S+) \.*\**(Failed|Timeout|Subprocess aborted|SEGFAULT|\w*Exception\S*|"
                          r"SIGBUS|Bus error|Not Run)", done.stdout, re.M)]
    if done.returncode != 0 and not failed:
        sys.exit(f"{done.stdout[-4000:]}\nctest itself failed")
    return [(test, first_case(done.stdout, test) or how.lower()) for test, how in failed]


def first_case(output, test):
    """The test case that failed first in a program."""
    begin = output.find(f": {test} .")
    end = re.search(r"^\s*\d+/\d+ Test +#", output[begin:], re.M)
    part = output[begin:begin + end.start()] if end else output[begin:]
    case = re.search(r"^\[  FAILED  \] (\w+(?:/\w+)*\.\w+(?:/\w+)*)|^(?:FAIL|ERROR): (\w+)", part, re.M)
    running = re.findall(r"^\[ RUN      \] (\S+)", part, re.M)
    return (case[1] or case[2]) if case else (f"{running[-1]} died" if running else None)


def fails_twice(mistake, names, jobs):
    """What fails, and fails again alone: a busy machine makes a test of wake-up times fail now and then."""
    failed = run_tests(mistake, names, jobs)
    return run_tests(mistake, [test for test, _ in failed], 1) if failed else []


def catch(mistake, jobs):
    """The first (test, case) that fails under the mistake, or None."""
    for test in CATCHERS.get(mistake, []):
        if failed := fails_twice(mistake, [test], 1):
            return failed[0]
    build(jobs)
    failed = fails_twice(mistake, [], jobs)
    return failed[0] if failed else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="print the mistakes and who is likely to catch them")
    parser.add_argument("--only", metavar="NAME", action="append", default=[],
                        help="this mistake (repeatable); beforehand only its own catchers must pass")
    parser.add_argument("--quick", action="store_true",
                        help="beforehand only the tests named as catchers must pass, not all")
    parser.add_argument("--jobs", metavar="N", type=int, default=os.cpu_count(), help="build and test in parallel")
    options = parser.parse_args()

    known = mistakes()
    for wrong, names in (("no such mistake", set(options.only) - set(known)),
                         ("in CATCHERS, but no mistake", set(CATCHERS) - set(known)),
                         ("planted nowhere", planted_nowhere(known))):
        if names:
            print(f"{wrong}: {', '.join(sorted(names))}", file=sys.stderr)
            return 2
    if options.list:
        for name, why in known.items():
            print(f"{name:34} {why}\n{'':34} -> {', '.join(CATCHERS.get(name, ['all tests']))}")
        return 0

    chosen = [name for name in known if not options.only or name in options.only]
    catchers = sorted({test for name in chosen for test in CATCHERS.get(name, [])})
    few = options.quick or options.only
    build(options.jobs, programs(catchers) if few else [])
    begin = time.monotonic()
    if failed := fails_twice("", catchers if few else [], options.jobs):
        print("fails without any mistake: " + ", ".join(" ".join(test) for test in failed), file=sys.stderr)
        return 1
    print(f"{'(none)':34} | {'nothing, as it must be':72} | {time.monotonic() - begin:7.1f}", flush=True)

    uncaught = []
    print(f"{'mistake':34} | {'caught by':72} | seconds", flush=True)
    for name in chosen:
        begin = time.monotonic()
        caught = catch(name, options.jobs)
        if not caught:
            uncaught.append(name)
        print(f"{name:34} | {' '.join(caught) if caught else 'NOTHING':72} | {time.monotonic() - begin:7.1f}", flush=True)
    print(f"{len(chosen) - len(uncaught)} of {len(chosen)} mistakes are caught")
    if uncaught:
        print(f"tests are missing for: {', '.join(uncaught)}", file=sys.stderr)
        return 6
    return 0


if __name__ == "__main__":
    sys.exit(main())
