"""All rows, in their order. A row that another issue's work makes possible, or that this machine cannot run, says why."""

from __future__ import annotations

from functools import partial

from tests.faults import acts, acts_cluster, acts_queues, crash_rows, disk
from tests.faults.rows import Row

_INTEGRATION = "tests/integration"
_CONFORMANCE = f"{_INTEGRATION}/libs/messaging/test_conformance.py"
_RABBIT = f"{_INTEGRATION}/libs/messaging/test_rabbit.py"
_BUDGETS = f"{_INTEGRATION}/services/provider_sync/test_budgets.py"
_FAULTS = f"{_INTEGRATION}/services/provider_sync/test_provider_faults.py"
_REPLAYS = f"{_INTEGRATION}/libs/messaging/test_replays_heavy.py"
_SLOTS = f"{_INTEGRATION}/services/reconciliation/test_slots.py"

ROWS = (
    Row(id="F1", fault="broker down while webhooks come in", act=acts.broker_stopped, posts=900),
    Row(id="F2", fault="broker crashes with a backlog", act=acts.broker_restarted_with_backlog, posts=300),
    Row(id="F3", fault="broker's memory alarm", act=acts.memory_alarm, posts=1800),
    Row(id="F4", fault="link to the broker half open", act=acts.half_open_to_broker, posts=300),
    Row(id="F5", fault="quorum lost, 2 of 3 nodes", act=acts_cluster.quorum_lost, posts=900, large=True),
    Row(id="F6", fault="event that no queue takes", act=acts.unroutable),
    Row(
        id="F7",
        fault="dead letters' exchange not as it must be",
        suite=(f"{_RABBIT}::test_a_queue_that_is_not_as_it_must_be_is_refused",),
    ),
    Row(id="F8", fault="dead-letter queue full", act=acts_queues.dead_queue_full),
    Row(
        id="F9",
        fault="handler slower than the broker's patience",
        act=acts_queues.slower_than_the_broker_waits,
        posts=300,
    ),
    Row(id="F10", fault="database down, and back", act=acts.database_stopped, posts=900),
    Row(id="F11", fault="database fails over, connections cut", act=acts.database_connections_cut, posts=300),
    Row(id="F12", fault="database slow, then silent", act=acts.database_slow, posts=300),
    Row(
        id="F13",
        fault="deadlock, serialization failure",
        suite=(
            f"{_INTEGRATION}/services/provider_sync/test_syncs.py::test_transactions_that_met_in_a_deadlock_are_tried_again",
            f"{_INTEGRATION}/services/provider_sync/test_syncs.py::test_a_job_that_met_a_deadlock_is_done_later",
        ),
    ),
    *crash_rows.ROWS,
    Row(id="F18", fault="two relays, two consumers, two of each", act=acts.two_of_each, posts=300),
    Row(
        id="F19",
        fault="ten times as many duplicates",
        act=acts.storm_of_duplicates,
        posts=400,
        plan=(("duplicates", 0.9),),
    ),
    Row(
        id="F20",
        fault="any order",
        suite=("tests/flow/test_order.py", f"{_INTEGRATION}/services/provider_sync/test_order.py"),
    ),
    Row(id="F21", fault="a week late", suite=("tests/flow/test_webhook_endpoints.py",)),
    Row(id="F22", fault="provider silent", why_not="belongs to reconciliation's own work"),
    Row(
        id="F23",
        fault="poison",
        act=acts.poison,
        posts=200,
        plan=(("poison", 20), ("garbage", 10), ("unknown", 5)),
    ),
    Row(id="F24", fault="hostile bytes", suite=(f"{_INTEGRATION}/services/webhook_ingest/test_limits.py",)),
    Row(
        id="F25",
        fault="provider answers 429",
        suite=(
            f"{_FAULTS}::test_who_is_told_to_wait_waits_and_webhooks_go_on",
            f"{_BUDGETS}::test_a_pause_is_for_every_replica_and_for_no_other_account",
        ),
    ),
    Row(
        id="F26",
        fault="provider's burst of 5xx",
        suite=(
            f"{_FAULTS}::test_a_third_of_all_calls_fail_for_ten_minutes",
            f"{_FAULTS}::test_who_does_not_answer_is_left_alone_and_looked_for_now_and_then",
        ),
    ),
    Row(
        id="F27",
        fault="provider's time-outs and half pages",
        suite=(
            f"{_FAULTS}::test_a_third_of_all_answers_are_none_for_ten_minutes",
            f"{_FAULTS}::test_an_answer_without_end_costs_one_call_its_deadline",
        ),
    ),
    Row(
        id="F28",
        fault="provider's garbage",
        suite=(
            f"{_FAULTS}::test_values_of_other_types_end_a_comparison_and_leave_no_half_of_one",
            f"{_FAULTS}::test_lists_that_move_are_read_whole_or_not_at_all",
        ),
    ),
    Row(
        id="F29",
        fault="write whose answer is lost",
        suite=(
            f"{_FAULTS}::test_what_was_done_and_never_answered_is_found_and_not_done_again",
            f"{_FAULTS}::test_a_registration_whose_answer_was_lost_is_not_made_twice",
        ),
    ),
    Row(
        id="F30",
        fault="credential revoked",
        suite=(f"{_FAULTS}::test_a_key_that_is_revoked_in_the_middle_is_asked_no_more_until_there_is_a_new_one",),
    ),
    Row(
        id="F31",
        fault="clocks that jump",
        suite=(f"{_SLOTS}::test_clocks_that_jump_start_nothing_twice_and_nothing_early",),
    ),
    Row(id="F32", fault="disk full", act=acts_cluster.disk_full, posts=2500, large=True, needs=disk.why_not),
    Row(
        id="F33",
        fault="unknown event version",
        suite=(f"{_CONFORMANCE}::test_a_version_from_the_future_is_parked", "tests/contract/events"),
    ),
    Row(id="F34", fault="roll back after new events", act=acts_queues.rolled_back, posts=400, last=True),
    Row(id="F35", fault="migration under load", why_not="belongs to deployment's own work"),
    Row(
        id="F36",
        fault="5,000 dead letters replayed under load, killed twice",  # 100,000 in `make test-all`
        suite=(f"{_REPLAYS}::test_100000_letters_are_done_once_though_the_process_is_killed_twice",),
        heavy=(("REPLAY_LETTERS", "5000"),),
    ),
    Row(id="F37", fault="replay twice, aborted, killed", suite=(f"{_INTEGRATION}/libs/messaging/test_replays.py",)),
    Row(id="F38", fault="noisy tenant", suite=(f"{_INTEGRATION}/libs/messaging/test_fairness.py",)),
    Row(
        id="F39",
        fault="SIGKILL and SIGTERM in flight",
        act=acts.rolling_restarts,
        posts=300,
        quick=partial(acts.rolling_restarts, rounds=3),
    ),
    Row(id="F40", fault="telemetry's backend down", why_not="belongs to observability's own work"),
    Row(id="F41", fault="token issuer down, keys rotated", suite=(f"{_INTEGRATION}/services/gateway/test_sign_in.py",)),
    Row(
        id="F42",
        fault="key ring rotated in the middle",
        suite=(f"{_INTEGRATION}/services/provider_sync/test_rotation.py",),
    ),
    Row(id="F43", fault="organization erased or suspended in flight", suite=("tests/flow/test_organizations.py",)),
    Row(id="F44", fault="webhook token rotated in flight", suite=("tests/flow/test_webhook_endpoints.py",)),
    Row(id="F45", fault="everything returns at once", act=acts.everything_at_once, posts=300),
    Row(
        id="F46",
        fault="leader's lock lost",
        suite=(
            f"{_SLOTS}::test_a_leader_that_lost_its_lock_unawares_starts_nothing_again",
            f"{_INTEGRATION}/services/provider_sync/test_syncs.py::test_a_reading_in_other_hands_keeps_nothing",
        ),
    ),
    Row(id="F47", fault="channel nacked after a leader's death", act=acts_cluster.leader_killed, posts=900, large=True),
    Row(
        id="F48",
        fault="a crash takes its prefetch window",
        suite=(f"{_RABBIT}::test_what_the_broker_gave_up_on_is_drained_and_handled_once",),
    ),
    Row(
        id="F49",
        fault="one culprit in a batch",
        suite=(
            f"{_CONFORMANCE}::test_only_the_culprit_of_a_batch_is_charged_and_it_is_retried",
            f"{_RABBIT}::test_one_broken_event_in_a_batch_leaves_its_neighbours_well",
        ),
    ),
    Row(
        id="F50",
        fault="retention during ingest",
        suite=(
            f"{_INTEGRATION}/libs/messaging/test_retention.py",
            f"{_INTEGRATION}/libs/database/test_partitions.py",
        ),
    ),
    Row(id="F51", fault="consumer alive but deaf", act=acts_queues.deaf, posts=100),
    Row(id="F52", fault="an owner away behind the gateway", act=acts.owner_away, posts=200),
    Row(
        id="F53",
        fault="two schedulers, a missed slot",
        suite=(
            f"{_SLOTS}::test_two_replicas_and_a_crowd_outside_start_each_slot_once",
            f"{_SLOTS}::test_of_missed_slots_only_the_newest_is_caught_up",
        ),
    ),
    Row(id="F54", fault="provider's counters disagree with its events", why_not="belongs to reconciliation's own work"),
)
