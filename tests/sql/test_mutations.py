"""Each guard in the SQL broken once: the test that is there for it must then fail.

A mutant replaces a snippet of one function's definition in the test's own database, or takes away a trigger, an index,
a policy, a right; what is broken and which test notices stand side by side in MUTANTS and OUTSIDE.
"""

import inspect
from collections.abc import Callable
from types import MappingProxyType

import psycopg
import pytest
from _pytest.outcomes import Failed

from tests.conftest import Database
from tests.sql import (
    test_budgets,
    test_catalogue,
    test_enqueue_jobs,
    test_forms,
    test_generation_steps,
    test_generations,
    test_operations,
    test_own_jobs,
    test_queue,
    test_queue_history,
    test_queue_model,
    test_quota_uses,
    test_schema,
    test_sharing,
    test_spend,
    test_suspects,
)
from tests.sql.help import OTHER, USER

pytestmark = pytest.mark.slow

JOBS = test_enqueue_jobs
QUEUE, OPERATIONS, STEPS = test_queue, test_operations, test_generation_steps
MODEL, SHARING, GENERATIONS = test_queue_model, test_sharing, test_generations
SCHEMA, CATALOGUE, USES = test_schema, test_catalogue, test_quota_uses
OWN, FORMS, SUSPECTS = test_own_jobs, test_forms, test_suspects
BUDGETS, SPEND, HISTORY = test_budgets, test_spend, test_queue_history
paid, ended = BUDGETS.paid, HISTORY.ended  # fixtures, which pytest finds by this module's names
PAYLOADS = {
    case.id: dict(zip(("payload", "code", "text"), case.values, strict=True))
    for mark in OWN.test_a_payload_is_checked.pytestmark for case in mark.args[1]
}  # fmt: skip


def bounded(place):
    """The parameters of a line of SCHEMA.ODD."""
    return dict(zip(("column", "value", "text"), SCHEMA.ODD[place], strict=True))


MUTANTS = [
    # function, what is there, what the mutant has, the test that must fail, its parameters
    ("claim_jobs", "for update skip locked", "for update", OPERATIONS.test_a_claim_is_not_short_while_a_job_is_free),
    ("claim_jobs", "for update skip locked\n            ),\n            shared", "), shared",
     QUEUE.test_two_open_transactions_never_share_a_job, {"user": None}),
    ("claim_jobs", "for update skip locked\n            ),\n            -- In", "),\n            -- In",
     QUEUE.test_two_open_transactions_never_share_a_job, {"user": USER}),
    *(("claim_jobs", there, broken, OPERATIONS.test_a_claim_is_bounded_in_bytes_too_and_hands_out_one_in_any_case)
      for there, broken in (("sized.total <= v_bytes or", "true or"),
                            ("or (sized.place = 1 and v_left = p_limit)", ""))),
    ("claim_jobs", "job_queue.lease_token + 1", "job_queue.lease_token",
     QUEUE.test_a_dead_workers_job_is_claimed_again_under_a_higher_token),
    ("claim_jobs", "least(job_queue.attempt_number, 2147483646) + 1", "job_queue.attempt_number",
     QUEUE.test_a_claim_has_the_originals_columns_first_and_counts_the_attempt),
    *(("claim_jobs", f"job_queue.scheduled_at <= v_now\n                order by {lane}", f"true order by {lane}",
       QUEUE.test_a_job_behind_a_due_one_waits_for_its_time_too, {"rank": rank})
      for lane, rank in (("job_queue.scheduled_at", 0), ("job_queue.share_rank", 1))),
    ("claim_jobs", "- 600.0 * part.priority", "", OPERATIONS.test_the_best_of_several_parts_are_taken),
    ("due_parts", "- 600.0 * part.priority", "", OPERATIONS.test_a_batch_comes_in_order_over_types_and_priorities),
    ("due_parts", "600.0", "6000000.0", OPERATIONS.test_a_low_priority_does_not_starve),
    ("due_parts", "paused_queues.job_type in (part.job_type, '*')", "false",
     OPERATIONS.test_a_paused_queue_hands_out_nothing_and_loses_nothing, {"paused": "generate-image", "user": None}),
    ("due_parts", "(part.job_type, '*')", "(part.job_type)",
     OPERATIONS.test_a_paused_queue_hands_out_nothing_and_loses_nothing, {"paused": None, "user": None}),
    ("find_lanes", "and p_job_types is null", "",
     OPERATIONS.test_only_the_asked_types_are_handed_out, {"user": None}),
    *(("claim_jobs",
       f"{lane} and job_queue.status = 'pending'\n                    and job_queue.job_type = v_part.job_type and",
       f"{lane} and job_queue.status = 'pending' and",
       OPERATIONS.test_only_the_asked_types_are_handed_out, {"user": user})
      for lane, user in (("where not v_part.shared", None), ("where v_part.shared", USER))),
    ("claim_jobs", "array[false, true]", "array[false]", OPERATIONS.test_a_claim_is_not_short_while_a_job_is_free),
    ("find_lanes", "lane.depth < 100", "lane.depth < 0",
     OPERATIONS.test_a_batch_comes_in_order_over_types_and_priorities),
    ("find_lanes", "lane.depth + coalesce(", "lane.depth + coalesce(1,",
     OPERATIONS.test_future_jobs_of_many_priorities_hide_no_due_one),
    ("claim_jobs", "least(job_queue.attempt_number, 2147483646) + 1", "job_queue.attempt_number + 1",
     OPERATIONS.test_a_number_of_attempts_at_its_maximum_stops_no_claim),
    ("due_parts", "perform picture_edge.requeue_expired(greatest(p_limit, 10), 300);", "",
     QUEUE.test_a_dead_workers_job_is_claimed_again_under_a_higher_token),
    ("held_job", "v_job.lease_token <> p_lease_token or", "",
     QUEUE.test_a_worker_that_lost_its_lease_changes_nothing_and_is_told,
     {"statement": "select picture_edge.begin_generate_image(%(id)s, %(token)s, gen_random_uuid(), '1 h')"}),
    ("held_job", "or v_job.status <> all (p_statuses)", "",
     QUEUE.test_a_reset_by_hand_takes_the_job_from_its_worker),
    ("complete_jobs", "and job_queue.lease_token = ending.token", "",
     OPERATIONS.test_a_batch_of_ends_each_under_its_own_token),
    ("complete_jobs", "and job_queue.status || '' = 'processing'", "", QUEUE.test_an_attempt_ends_one_way_only,
     {"ends": ("p_error => 'x'", "p_result => '{}'")}),
    ("extend_leases", "for update of job_queue", "", QUEUE.test_a_batch_that_waited_for_a_person_is_told,
     {"statement": "select picture_edge.extend_leases(%s, %s, '1 hour')"}),
    *(("held_job", "for update", "", QUEUE.test_a_write_that_waited_for_a_person_is_refused, {"statement": statement})
      for statement in ("select picture_edge.extend_lease(%s, %s, '10 s')", "select picture_edge.release_job(%s, %s)")),
    *(("requeue_expired", "for update skip locked", broken, QUEUE.test_a_lease_that_is_being_extended_is_not_taken)
      for broken in ("", "for update")),
    ("complete_jobs", "and job_queue.status <> 'processing'", "and false",
     QUEUE.test_repeating_an_end_whose_answer_was_lost_changes_nothing),
    ("complete_jobs", "case when ending.error is null then job_queue.status = 'completed'",
     "case when ending.error is null then true", QUEUE.test_an_attempt_ends_one_way_only,
     {"ends": ("p_error => 'x'", "p_result => '{}'")}),
    ("complete_jobs", "jsonb_build_object('lease_token', ending.token)", "jsonb_build_object()",
     QUEUE.test_an_attempt_ends_one_way_only, {"ends": ("null", "p_error => 'x'")}),
    ("complete_jobs", "and job_queue.status || '' = 'processing'\n            returning", "returning",
     QUEUE.test_repeating_an_end_whose_answer_was_lost_changes_nothing),
    ("complete_jobs", "held.attempt_number < held.max_attempts", "true",
     QUEUE.test_an_error_waits_and_is_retried_until_the_attempts_are_spent),
    ("complete_jobs", "coalesce(told.retry, true)", "true", QUEUE.test_a_permanent_error_fails_at_once),
    ("complete_jobs", "- (ending.again and ending.free)::int", "", QUEUE.test_the_providers_own_delay_costs_no_attempt),
    ("complete_jobs", "+ greatest(ending.retry_after, interval '0')", "",
     QUEUE.test_the_providers_own_delay_costs_no_attempt),
    ("backoff", ", 300)", ", 3000000)", QUEUE.test_backoff_grows_with_jitter_and_has_a_cap),
    ("complete_jobs", "random() *", "", QUEUE.test_backoff_grows_with_jitter_and_has_a_cap),
    ("complete_jobs", "job_queue.errors - 0", "job_queue.errors",
     OPERATIONS.test_no_more_than_a_hundred_errors_are_kept),
    ("complete_job", "v_job.lease_token + 1", "v_job.lease_token",
     OPERATIONS.test_a_person_ends_what_a_worker_has_and_the_worker_is_told),
    ("extend_leases", "and job_queue.lease_token = lease.token", "",
     QUEUE.test_extending_keeps_what_is_held_and_names_what_is_not),
    ("extend_lease", "picture_edge.held_job(p_job_id, p_lease_token, '{processing}')", "1",
     OPERATIONS.test_one_lease_is_extended_or_refused),
    ("release_job", "picture_edge.held_job(p_job_id, p_lease_token, '{processing, pending}')", "1",
     QUEUE.test_an_interrupted_job_goes_back_uncounted),
    ("release_job", "greatest(job_queue.attempt_number - 1, 0)", "job_queue.attempt_number",
     QUEUE.test_an_interrupted_job_goes_back_uncounted),
    ("release_job", "greatest(job_queue.attempt_number - 1, 0)", "job_queue.attempt_number", MODEL.walk_unshrunk),
    ("requeue_expired", "job_queue.share_rank = -2", "false",
     SUSPECTS.test_it_is_poisonous_if_its_worker_dies_while_it_runs_alone),
    ("requeue_expired", "job_queue.share_rank = -2", "job_queue.share_rank < 0",
     SUSPECTS.test_a_death_while_it_waits_to_be_alone_proves_nothing),
    ("requeue_expired", "job_queue.share_rank = -2", "job_queue.crash_count >= 2",
     SUSPECTS.test_a_death_while_it_waits_to_be_alone_proves_nothing),
    ("requeue_expired", "else greatest(job_queue.attempt_number - 1, 0) end", "else job_queue.attempt_number end",
     SUSPECTS.test_a_death_costs_no_attempt, {"attempts": 1}),
    ("requeue_expired", "when job_queue.crash_count >= 1 then -1", "when false then -1",
     SUSPECTS.test_after_two_deaths_it_is_left_to_claim_suspect, {"user": None}),
    ("requeue_expired", "job_queue.crash_count >= 1", "job_queue.crash_count >= 0", MODEL.walk_unshrunk),
    ("claim_suspect", "share_rank = -1,", "",
     SUSPECTS.test_a_parked_suspect_that_nobody_looked_after_returns_uncounted),
    ("complete_jobs", "then least(job_queue.share_rank, 0)", "then 0",
     SUSPECTS.test_one_that_is_tried_again_runs_alone_again,
     {"end": "select complete_job(%s, p_error => 'x', p_lease_token => %s)"}),
    ("claim_suspect", "and job_queue.scheduled_at <= v_now\n        and", "and",
     SUSPECTS.test_a_suspect_waits_for_its_time_its_type_and_its_queue),
    ("claim_suspect", "(job_queue.job_type, '*')", "(job_queue.job_type)",
     SUSPECTS.test_a_suspect_waits_for_its_time_its_type_and_its_queue),
    ("claim_suspect", "or job_queue.job_type = any (p_job_types)", "or true",
     SUSPECTS.test_a_suspect_waits_for_its_time_its_type_and_its_queue),
    ("claim_suspect", "for update skip locked", "for update",
     SUSPECTS.test_two_open_transactions_never_share_a_suspect),
    ("claim_suspect", ")::int > 0", ")::int > -1",
     SUSPECTS.test_what_the_provider_does_not_take_now_waits_and_others_go_on),
    ("claim_suspect", "perform picture_edge.spend_provider_allowance(1, v_provider);", "null;",
     SUSPECTS.test_what_the_provider_does_not_take_now_waits_and_others_go_on),
    ("claim_suspect", "job_queue.lease_token + 1", "job_queue.lease_token", MODEL.walk_unshrunk),
    ("claim_suspect", "share_rank = -1", "share_rank = -2",
     SUSPECTS.test_a_death_while_it_waits_to_be_alone_proves_nothing),
    ("begin_alone", "perform picture_edge.held_job(p_job_id, p_lease_token, '{processing}');", "",
     SUSPECTS.test_only_its_holder_begins_it),
    ("claim_one", "perform picture_edge.begin_alone(id, lease_token, p_lease);", "",
     SUSPECTS.test_by_hand_a_suspect_comes_last_and_is_alone),
    ("redrive_each", "share_rank = greatest(job_queue.share_rank, 0),", "",
     SUSPECTS.test_a_reset_gives_a_poisonous_job_one_attempt_alone_and_redrive_forgets),
    ("requeue_expired", "lease_expires_at < clock_timestamp()", "lease_expires_at is not null",
     OPERATIONS.test_a_requeue_takes_expired_leases_only_and_no_more_than_asked),
    ("redrive_each", "attempt_number = 0,", "", OPERATIONS.test_redrive_runs_a_job_again_with_all_its_attempts),
    ("cancel_each", "and job_queue.status in ('pending', 'processing')", "",
     OPERATIONS.test_cancel_ends_what_waits_or_runs_once),
    ("redrive_each", "crash_count = 0,", "",
     OPERATIONS.test_a_job_that_kills_its_workers_ends_after_the_third_however_often_it_is_reset),
    ("redrive_each", "and job_queue.status in ('failed', 'cancelled')", "",
     OPERATIONS.test_redrive_runs_a_job_again_with_all_its_attempts),
    ("purge_jobs", "and job_queue.status = any (p_statuses)", "",
     OPERATIONS.test_purge_deletes_what_ended_long_ago_and_keeps_failures),
    ("purge_jobs", "and job_queue.completed_at < clock_timestamp() - p_older_than", "",
     OPERATIONS.test_purge_deletes_what_ended_long_ago_and_keeps_failures),
    ("keep_generation_forward", "array_position(v_order, new.status) < array_position(v_order, old.status)", "false",
     OPERATIONS.test_a_generation_moves_forward_only, {"since": "downloading", "to": "queued"}),
    ("keep_generation_forward", "old.status in ('completed', 'failed', 'cancelled')", "false",
     OPERATIONS.test_a_generation_moves_forward_only, {"since": "completed", "to": "failed"}),
    ("reopen_generation", "perform set_config('picture_edge.reopened', '', true);", "null;",
     OPERATIONS.test_a_revived_job_reopens_its_generation, {"revive": "redrive", "end": "failed"}),
    ("move_generation_with_job", "perform picture_edge.reopen_generation(", "perform concat(",
     OPERATIONS.test_a_revived_job_reopens_its_generation, {"revive": "by hand", "end": "cancelled"}),
    ("move_generation_with_job", "and image_generations.status not in ('completed', 'failed', 'cancelled')", "",
     OPERATIONS.test_a_job_may_end_after_its_generation, {"end": "fail"}),
    ("complete_manual_change", "clock_timestamp() + interval '10 minutes'", "null",
     OPERATIONS.test_a_status_written_by_hand_brings_the_rest_with_it),
    ("complete_manual_change", "new.lease_token := old.lease_token + 1;", "null;",
     OPERATIONS.test_a_job_started_by_hand_is_no_longer_its_former_workers),
    ("succeed_prediction", "if v_job.status = 'completed' then", "if false then",
     STEPS.test_repeating_a_step_whose_answer_was_lost_changes_nothing),
    ("finish_download_image", "if v_job.status = 'completed' then", "if false then",
     STEPS.test_repeating_a_step_whose_answer_was_lost_changes_nothing),
    ("typical_seconds", "filter (where recent.seconds between 0 and 86400)", "",
     STEPS.test_absurd_times_of_before_do_not_count),
    ("succeed_prediction", "case when p_seconds between 0 and 86400 then p_seconds end", "p_seconds",
     STEPS.test_what_a_picture_took_is_kept_up_to_a_day, {"told": "1e308", "kept": None}),
    ("intend_prediction", "if v_not_before > clock_timestamp() then", "if false then",
     STEPS.test_a_429_holds_back_everybody),
    ("enqueue_job", "select job_queue.share_rank + 1", "select job_queue.share_rank",
     SHARING.test_a_users_first_job_waits_for_no_more_than_one_of_each_other_user),
    ("enqueue_job", "and job_queue.priority = coalesce(p_priority, 0) and job_queue.share_rank > 0\n"
     "                order by job_queue.share_rank\n", "order by job_queue.share_rank\n",
     SHARING.test_each_priority_has_turns_of_its_own),
    ("enqueue_job", "and job_queue.job_type = p_job_type and job_queue.priority = coalesce(p_priority, 0)\n"
     "                    and job_queue.share_rank > 0", "and job_queue.share_rank > 0",
     SHARING.test_what_a_user_has_elsewhere_is_no_turn, {"elsewhere": "'other', '{}', 0"}),
    ("enqueue_job", "p_created_by is not null and v_due", "p_created_by is not null",
     SHARING.test_a_delayed_job_of_a_user_waits_for_its_time),
    ("enqueue_job", "order by job_queue.share_rank\n", "order by job_queue.share_rank desc\n",
     SHARING.test_users_take_turns),
    ("complete_jobs", "share_rank = case when ending.again then", "share_rank = case when false then",
     SHARING.test_a_retry_goes_by_its_time_and_a_job_without_a_user_by_its_age),
    ("provider_allowance", "if v_limit.not_before > v_now then", "if false then",
     SHARING.test_what_a_429_forbids_waits_in_the_queue),
    ("claim_jobs", "v_take := least(v_take, v_allowed);", "",
     SHARING.test_no_more_in_flight_than_allowed_parked_ones_counted),
    ("claim_jobs", "perform picture_edge.spend_provider_allowance(v_taken, v_provider);", "null;",
     SHARING.test_a_rate_of_ours_is_spent_by_claims_and_refilled_by_time),
    ("claim_jobs", "jsonb_build_object(v_provider, v_allowed - v_taken)",
     "jsonb_build_object(v_provider, v_allowed)", SHARING.test_each_lane_spends_from_the_same_bucket),
    ("claim_jobs", "job_types.provider = provider_limits.provider and part.due", "false",
     SHARING.test_a_further_type_that_pays_a_provider_is_one_row),
    ("provider_allowance", "where job_types.provider = p_provider", "where job_types.job_type = 'generate-image'",
     SHARING.test_a_further_type_that_pays_a_provider_is_one_row),
    ("provider_allowance", "for update", "", SHARING.test_two_claims_at_once_share_the_limit),
    ("provider_allowance", "v_burst := 1;", "null;", SHARING.test_an_account_held_to_a_rate_is_asked_at_that_rate),
    ("provider_allowance", "floor(v_limit.tokens)", "ceil(v_limit.tokens)",
     SHARING.test_a_rate_of_ours_is_spent_by_claims_and_refilled_by_time),
    ("succeed_prediction", "p_worker_id := null;", "null;",
     STEPS.test_a_paused_download_is_not_claimed_with_the_end_before_it),
    ("provider_allowance", "nullif(extract(epoch from v_limit.spacing), 0)",
     "extract(epoch from v_limit.spacing)",
     SHARING.test_a_rate_without_a_distance_stops_no_claim),
    ("limit_provider", "greatest(known.not_before, excluded.not_before)", "excluded.not_before",
     STEPS.test_a_429_holds_back_everybody),
    ("park_prediction", "+ interval '5 minutes'", "",
     STEPS.test_a_parked_job_keeps_its_lease_past_the_predictions_time),
    ("park_prediction", "and predictions.status = 'intended'", "",
     STEPS.test_repeating_a_step_whose_answer_was_lost_changes_nothing),
    ("park_prediction", "set parked = true,", "set", STEPS.test_a_job_is_parked_beside_its_running_prediction_only,
     {"how": "completed"}),
    ("begin_generate_image", "set parked = true,", "set",
     STEPS.test_an_attempt_that_adopts_a_prediction_is_parked_with_it),
    ("claim_jobs", "parked = false,", "", STEPS.test_a_claim_unparks, {"claim_it": "select claim_next_job()"}),
    ("complete_manual_change", "new.parked := new.parked and new.status = 'processing';", "",
     STEPS.test_a_job_is_parked_beside_its_running_prediction_only, {"how": "reset by hand, in all columns"}),
    ("hint_generation_changed", "if not v_throttled then", "if false then",
     SCHEMA.test_a_policy_that_lets_users_change_their_rows_opens_no_way_around),
    ("claim_polls", "and predictions.next_poll_at <= clock_timestamp()", "",
     STEPS.test_polls_are_handed_out_once_and_grow_apart),
    ("claim_polls", "2 ^ least(predictions.polls + 1, 10)", "2",
     STEPS.test_polls_are_handed_out_once_and_grow_apart),
    ("claim_polls", "coalesce(job_queue.status in ('pending', 'processing'), false)", "true",
     STEPS.test_the_prediction_of_a_job_that_has_ended_is_looked_at_at_once, {"end": "cancel_job"}),
    ("move_generation_with_job", "set next_poll_at = clock_timestamp()", "set next_poll_at = next_poll_at",
     STEPS.test_the_prediction_of_a_job_that_has_ended_is_looked_at_at_once, {"end": "failed by hand"}),
    ("fail_prediction", "set replicate_prediction_id = null,", "set",
     STEPS.test_a_failed_prediction_ends_the_attempt_once),
    ("begin_generate_image", "set lease_token = p_lease_token,", "set",
     STEPS.test_the_next_worker_adopts_what_runs_and_looks_for_what_was_intended),
    ("requeue_expired", "job_queue.parked,", "false as parked,",
     STEPS.test_a_parked_job_nobody_looked_after_returns_uncounted),
    ("store_images", "and image_generations.status in ('pending', 'queued', 'processing', 'downloading')", "",
     STEPS.test_a_cancelled_generation_is_not_completed_by_a_late_download),
    ("start_generations", "order by asked.place", "order by asked.place desc",
     GENERATIONS.test_several_start_together_and_are_answered_in_their_order),
    ("cancel_generation", "image_generations.user_id = p_user_id", "true",
     GENERATIONS.test_nobody_elses_generation_is_cancelled),
    ("cancel_generation", "in ('completed', 'failed')", "in ('failed')",
     GENERATIONS.test_what_has_ended_is_not_cancelled, {"status": "completed"}),
    ("cancel_generation", "exit when public.cancel_job(v_job_id, p_reason);", "exit;",
     GENERATIONS.test_a_cancelled_generation_takes_its_job_along_and_may_be_cancelled_again),
    ("check_quotas", "perform picture_edge.hold_quotas(p_user_ids);", "",
     GENERATIONS.test_two_open_transactions_do_not_share_the_last_free_place),
    ("spend_quota", "perform picture_edge.check_quota(p_user_id);", "", USES.test_spend_quota_refuses_what_has_no_room,
     {"quota": "p_running"}),
    ("spend_quota", "values (p_user_id, p_generation_id", "values (p_user_id, null",
     USES.test_what_spend_quota_has_counted_counts_no_second_time),
    ("check_quota", "perform pg_advisory_xact_lock", "-- perform pg_advisory_xact_lock",
     USES.test_two_that_spend_at_once_do_not_share_the_last_place),
    ("hold_quotas", "order by given.user_id", "order by given.user_id desc",
     USES.test_two_batches_of_the_same_users_do_not_wait_for_each_other),
    ("quota_use", "and quota_uses.ended_at is null", "",
     USES.test_a_use_runs_until_its_generation_ends_and_stays_counted, {"end": "completed"}),
    ("quota_use", "'15 minutes'", "'15 years'",
     USES.test_a_call_whose_process_has_died_stops_counting_as_running, {"recorded": False}),
    ("quota_use", "quota_uses.source <> 'generate-image'", "true",
     USES.test_a_call_whose_process_has_died_stops_counting_as_running, {"recorded": True}),
    ("quota_use", "and image_generations.status in ('queued', 'processing', 'downloading')", "and false",
     USES.test_what_waits_in_the_queue_runs_however_long),
    ("start_generations", "perform picture_edge.check_budgets(p_user_ids, p_requests);", "",
     BUDGETS.test_what_waits_and_what_is_asked_for_counts, {"scope": "user", "state": "PT429"}),
    ("intend_prediction", "perform picture_edge.check_budget(v_job.created_by);", "",
     BUDGETS.test_a_job_pays_nothing_once_the_budget_is_spent),
    ("check_budgets", "perform pg_advisory_xact_lock", "perform concat",
     BUDGETS.test_two_starts_never_both_see_the_last_room, {"scope": "all"}),
    *(("awaited_usd", f"and not {parked}", "", BUDGETS.test_a_parked_jobs_prediction_counts_once, {"scope": scope})
      for scope, parked in (("user", "mine.parked"), ("all", "job_queue.parked"))),
    ("set_budget", "perform picture_edge.log_operation('set_budget',", "perform concat(",
     BUDGETS.test_it_says_what_it_did_and_logs_it),
    ("end_spend", "case when p_status = 'succeeded' then 0 else coalesce(v_usd, 0) end", "0",
     SPEND.test_nothing_made_is_refunded, {"status": "failed"}),
    ("end_spend", "and spend.status = 'running'", "", SPEND.test_a_blocking_call_is_a_row_too),
    ("keep_minutes", "count(*) as jobs", "2 * count(*) as jobs",
     HISTORY.test_each_end_is_counted_once_however_often_it_is_looked_at),
    ("keep_queue_history", "and job_queue.completed_at >= v_from and", "and",
     HISTORY.test_a_gap_is_passed_over_and_old_ends_are_left_out),
    ("count_generations", ") is null;", ") is null or true;",
     USES.test_what_spend_quota_has_counted_counts_no_second_time),
    ("count_generations", "if exists (", "if true or exists (",
     SCHEMA.test_a_user_inserts_a_pending_row_of_their_own_for_generate_image),
    ("check_quotas", "perform picture_edge.hold_quotas(p_user_ids);", "",
     USES.test_two_batches_of_the_same_users_do_not_wait_for_each_other),
    ("check_quotas", "quota_use.used + asked.wanted > quota_use.quota", "quota_use.used >= quota_use.quota",
     USES.test_a_batch_beyond_a_quota_is_refused_as_its_first_one_beyond, {
         "quotas": "p_hourly => 3, p_daily => 4", "text": "You may have 3 generations an hour", "after": 2400,
     }),
    *(("insert_jobs", there, broken, JOBS.test_they_are_as_if_enqueued_one_by_one, {"seed": 0})
      for there, broken in (
          ("order by job_queue.share_rank\n", "order by job_queue.share_rank desc\n"),
          ("select job_queue.share_rank + 1", "select job_queue.share_rank"),
          (") - 1 + row_number()", ") + 0 * row_number()"),
          ("given.created_by, given.is_due order by", "given.created_by order by"),
          ("given.created_by is null or not given.is_due", "given.created_by is null"),
          ("where given.is_new", ""),
          ("select case when given.dedupe_key is null then given.id", "select case when true then given.id"))),
    ("insert_jobs", "row_number() over (partition by given.job_type, given.dedupe_key order by given.place) > 1",
     "false", JOBS.test_a_key_twice_in_a_batch_takes_one_turn),
    ("insert_jobs", "order by given.job_type, given.dedupe_key, given.place", "order by given.place",
     JOBS.test_two_batches_of_the_same_keys_in_other_orders_do_not_deadlock),
    ("count_generation", "where not exists (", "where true or not exists (",
     USES.test_what_spend_quota_has_counted_counts_no_second_time),
    ("end_generation_use", "set ended_at = clock_timestamp()", "set ended_at = null",
     USES.test_a_use_runs_until_its_generation_ends_and_stays_counted, {"end": "failed"}),
    ("end_generation_use", "set ended_at = null", "set ended_at = ended_at",
     USES.test_a_reopened_generation_runs_again_and_is_no_further_use),
    ("end_generation_use", "order by latest.created_at desc, latest.id desc", "order by latest.created_at",
     USES.test_of_a_generation_paid_for_twice_one_runs),
    ("end_quota_use", "quota_uses.user_id = p_user_id and", "",
     USES.test_a_use_without_a_generation_runs_until_it_is_ended),
    *(("check_users_generation", there, "false", SCHEMA.test_what_a_user_writes_into_a_generation_is_bounded,
       bounded(place))
      for there, place in (
          ("length(new.prompt) > 10000", 0), ("coalesce(new.prompt, '') !~ '\\S'", 2),
          ("length(new.negative_prompt) > 10000", 3), ("length(new.model) > 200", 4), ("length(new.style) > 200", 5),
          ("new.width not between 1 and 16384", 6), ("new.height not between 1 and 16384", 8),
          ("new.steps not between 0 and 1000", 10), ("new.guidance_scale not between 0 and 100", 12),
          ("scale(new.guidance_scale) > 20", 17),
      )),
    ("report_progress", "greatest(image_generations.progress, report.progress)", "report.progress",
     GENERATIONS.test_progress_only_grows_and_only_while_it_is_made),
    ("report_progress", "where image_generations.status = 'processing'", "where true",
     GENERATIONS.test_progress_only_grows_and_only_while_it_is_made),
    ("enqueue_job", "if row_security_active('public.job_queue') then", "if false then",
     OWN.test_a_users_job_is_what_start_generation_would_queue),
    ("enqueue_job", "p_dedupe_key is not null or p_created_by is not null", "p_dedupe_key is not null",
     OWN.test_what_is_the_service_roles_is_refused, {"arguments": {"p_created_by": OTHER}}),
    ("enqueue_job", "p_dedupe_key is not null or p_created_by is not null", "p_created_by is not null",
     OWN.test_what_is_the_service_roles_is_refused, {"arguments": {"p_dedupe_key": "k"}}),
    *((function, "perform edge_private.refuse_shadows();", "", OWN.test_names_of_ones_own_are_refused,
       {"statement": statement, "made": "table pg_temp.pg_class ()"})
      for function, statement in (("enqueue_own_job", "enqueue"), ("follow_own_cancel", "cancel"))),
    ("refuse_shadows", "theirs.typnamespace = 'pg_catalog'::regnamespace", "false",
     OWN.test_names_of_ones_own_are_refused, {"statement": "cancel", "made": "table pg_temp.pg_class ()"}),
    ("refuse_shadows", "theirs.typnamespace = 'pg_catalog'::regnamespace", "true",
     OWN.test_a_temporary_table_of_the_sessions_is_no_reason),
    ("enqueue_own_job", "if v_user_id is null then", "if false then", OWN.test_whoever_is_nobody_is_refused),
    ("enqueue_own_job", "p_job_type is distinct from 'generate-image'", "false",
     OWN.test_no_other_type, {"job_type": "download-image"}),
    *(("enqueue_own_job", there, broken, OWN.test_a_payload_is_checked, PAYLOADS[payload])
      for there, broken, payload in (
          ("pg_column_size(p_payload) > 1024 * 1024", "false", "too large"),
          *((broken, "1 = 2", payload) for broken, payload in (
              ("(p_payload ->> 'width')::numeric not between 1 and 16384", "wide"),
              ("(p_payload ->> 'height')::numeric not between 1 and 16384", "high"),
              ("(p_payload ->> 'num_inference_steps')::numeric not between 0 and 1000", "steps"),
              ("(p_payload ->> 'guidance_scale')::numeric not between 0 and 100", "no number"),
          )),
          ("or btrim(p_payload ->> 'prompt') = ''", "", "blank"),
          ("jsonb_typeof(p_payload -> 'prompt') <> 'string' or", "", "prompt a number"),
          ("jsonb_typeof(p_payload -> 'model_id') <> 'string' or", "", "model an object"),
          ("btrim(p_payload ->> 'model_id') = '', true", "btrim(p_payload ->> 'model_id') = '', false", "no model"),
          ("length(p_payload ->> 'prompt') > 10000", "false", "a long prompt"),
          ("or length(p_payload ->> 'negative_prompt') > 10000", "", "negative"),
          ("or length(p_payload ->> 'model_id') > 200", "", "a long model"),
          ("or length(p_payload ->> 'style') > 200", "", "a long style"),
          ("p_payload ->> 'webhook_url' is not null", "false", "webhook"),
          ("lower(p_payload ->> 'user_id') <> v_user_id::text", "false", "another user"),
          ("p_payload ->> 'generation_id' !~* '^", "p_payload ->> 'generation_id' !~* '|^", "generation_id no uuid"),
      )),
    *(("enqueue_own_job", there, broken,
       OWN.test_a_user_is_bounded_in_priority_attempts_and_time, {"existing": existing})
      for there, broken, existing in (
          ("clock_timestamp() + interval '30 days'", "'infinity'", False),
          ("clock_timestamp() + interval '1 minute'", "clock_timestamp()", True),
          ("coalesce(p_scheduled_at > clock_timestamp() + interval '1 minute', false)", "p_scheduled_at is not null",
           True),
          ("least(greatest(coalesce(p_max_attempts, 3), 1), 3)", "p_max_attempts", True),
          ("share_rank = case when v_later then 0 else job_queue.share_rank end", "share_rank = share_rank", False),
          ("case when v_later then p_scheduled_at else job_queue.scheduled_at end", "scheduled_at", False),
      )),
    ("enqueue_own_job", "if v_later and 10 <=", "if false and 10 <=",
     OWN.test_ten_jobs_wait_for_their_time_and_no_more),
    ("enqueue_own_job", "where job_queue.created_by = v_user_id and job_queue.status = 'pending'",
     "where job_queue.status = 'pending'", OWN.test_ten_jobs_wait_for_their_time_and_no_more),
    ("enqueue_own_job", "and image_generations.user_id = v_user_id", "", OWN.test_nobody_elses_generation),
    ("enqueue_own_job", "for update", "", OWN.test_two_calls_at_once_make_one_job),
    ("enqueue_own_job", "return v_job_id; -- idempotent: this generation has a job", "null;",
     OWN.test_one_generation_is_paid_for_once_however_often_it_is_asked_for),
    *(("enqueue_own_job", "v_generation.status not in ('pending', 'queued')", "false",
       OWN.test_no_generation_that_is_begun_or_has_ended, {"status": status})
      for status in ("processing", "completed", "cancelled")),
    ("enqueue_own_job", "perform picture_edge.check_quota(v_user_id, v_generation_id);", "",
     OWN.test_the_quota_counts, {"existing": True}),
    ("enqueue_own_job", "update public.image_generations set status = 'queued'",
     "update public.image_generations set status = status",
     OWN.test_the_row_that_the_client_inserted_is_the_jobs, {"generation_status": "pending"}),
    ("enqueue_own_job", "'user_id', v_user_id),", "'user_id', null),",
     OWN.test_the_row_that_the_client_inserted_is_the_jobs, {"generation_status": "queued"}),
    ("enqueue_own_job", "p_created_by => v_user_id", "p_created_by => null",
     OWN.test_the_row_that_the_client_inserted_is_the_jobs, {"generation_status": "queued"}),
    ("follow_own_cancel", "and image_generations.user_id = new.created_by", "",
     OWN.test_a_cancel_ends_nobody_elses_generation),
    ("follow_own_cancel", "and image_generations.status not in ('completed', 'failed', 'cancelled')", "",
     OWN.test_a_job_whose_generation_has_ended_is_cancelled),
    ("follow_own_cancel", "set next_poll_at = clock_timestamp()", "set next_poll_at = next_poll_at",
     OWN.test_the_prediction_of_a_job_that_a_user_cancels_is_looked_at_at_once),
    ("follow_own_cancel", "SECURITY DEFINER", "SECURITY INVOKER",
     OWN.test_a_user_cancels_their_waiting_job_and_its_generation_follows),
    ("complete_manual_change", "new.updated_at := clock_timestamp();", "null;",
     OWN.test_the_time_of_a_cancel_is_the_servers),
    ("complete_job", "set error_details = p_error_details,", "set",
     FORMS.test_the_field_variants_errors_wait_longer_each_time_and_keep_their_details),
    ("complete_job", "picture_edge.backoff(job_queue.attempt_number)", "interval '1 second'",
     FORMS.test_the_field_variants_errors_wait_longer_each_time_and_keep_their_details),
    ("complete_jobs", "error_details = null, -- an earlier attempt's; complete_job may write this one's", "",
     QUEUE.test_a_workers_error_takes_an_earlier_ones_details_away),
    ("complete_jobs", "error_message = null, error_details = null,", "error_message = null,",
     FORMS.test_details_of_an_attempt_that_failed_end_with_one_that_did_not),
]  # fmt: skip


OUTSIDE = [
    # what takes a guard away that is no function, the test that must fail, its parameters
    ("drop trigger keep_generation_forward on image_generations",
     OPERATIONS.test_a_generation_moves_forward_only, {"since": "completed", "to": "failed"}),
    ("drop trigger move_generation_with_job on job_queue",
     OPERATIONS.test_a_revived_job_reopens_its_generation, {"revive": "redrive", "end": "failed"}),
    ("drop trigger complete_manual_change on job_queue",
     OPERATIONS.test_a_status_written_by_hand_brings_the_rest_with_it),
    ("drop trigger move_generation_with_job on job_queue",
     STEPS.test_the_prediction_of_a_job_that_has_ended_is_looked_at_at_once, {"end": "cancel_job"}),
    ("drop index job_queue_dedupe_idx; create unique index on job_queue (job_type, dedupe_key, id)"
     " where dedupe_key is not null and status in ('pending', 'processing')",
     OPERATIONS.test_a_dedupe_key_is_one_active_job_of_a_type),
    ("alter table job_queue drop constraint job_queue_status_check",
     OPERATIONS.test_a_status_that_is_none_is_refused, {"table": "job_queue"}),
    ("alter table image_generations drop constraint image_generations_status_check",
     OPERATIONS.test_a_status_that_is_none_is_refused, {"table": "image_generations"}),
    *((f"alter table {table} disable row level security", SCHEMA.test_users_see_their_own_rows_only)
      for table in ("job_queue", "image_generations", "images")),
    *((f"alter policy {table}_select_own on {table} using (true)", SCHEMA.test_users_see_their_own_rows_only)
      for table in ("job_queue", "image_generations", "images")),
    ("alter policy image_generations_insert_own on image_generations with check (status = 'pending')",
     SCHEMA.test_a_user_inserts_a_pending_row_of_their_own_for_generate_image),
    ("alter policy image_generations_insert_own on image_generations with check (user_id = auth.uid())",
     SCHEMA.test_a_user_inserts_a_pending_row_of_their_own_for_generate_image),
    ("drop trigger count_inserted_generation on image_generations",
     USES.test_each_generation_that_is_begun_is_one_use),
    ("drop trigger count_begun_generation on image_generations",
     USES.test_each_generation_that_is_begun_is_one_use),
    ("drop trigger end_generation_use on image_generations",
     USES.test_deleting_gives_no_quota_back, {"by": "the service role", "status": "completed"}),
    *((f"grant {right} on quota_uses to service_role", USES.test_nobody_takes_a_use_back,
       {"role": "service_role", "statement": statement})
      for right, statement in (
          ("delete", "delete from quota_uses"),
          ("update", "update quota_uses set created_at = '2000-01-01'"),
      )),
    ("drop trigger check_users_generation on image_generations",
     SCHEMA.test_what_a_user_writes_into_a_generation_is_bounded, bounded(0)),
    ("create or replace trigger check_users_generation before insert on image_generations for each row"
     " when (row_security_active('image_generations'::regclass))"
     " execute function picture_edge.check_users_generation()",
     SCHEMA.test_a_policy_that_lets_users_change_their_rows_opens_no_way_around),
    ("create or replace trigger check_users_generation before insert or update on image_generations for each row"
     " execute function picture_edge.check_users_generation()",
     SCHEMA.test_a_worker_ends_an_odd_row_all_the_same, bounded(6)),
    ("grant update on job_queue to authenticated",
     CATALOGUE.test_clients_have_no_right_but_to_read_their_rows_insert_a_pending_one_and_cancel_a_job),
    ("grant select on queue_health to anon",
     CATALOGUE.test_clients_have_no_right_but_to_read_their_rows_insert_a_pending_one_and_cancel_a_job),
    ("grant execute on function claim_next_job to authenticated",
     SCHEMA.test_no_function_is_open_to_clients_but_the_users_own_enqueue),
    ("grant execute on function purge_jobs to public",
     SCHEMA.test_no_function_is_open_to_clients_but_the_users_own_enqueue),
    ("revoke execute on function claim_jobs from service_role",
     SCHEMA.test_the_service_role_runs_the_queue_without_owning_it),
    ("alter function claim_jobs reset search_path",
     SCHEMA.test_every_function_has_an_empty_search_path_and_a_description),
    ("drop trigger follow_own_cancel on job_queue",
     OWN.test_a_user_cancels_their_waiting_job_and_its_generation_follows),
    ("drop policy job_queue_cancel_own on job_queue",
     OWN.test_a_user_cancels_their_waiting_job_and_its_generation_follows),
    *(("drop policy job_queue_cancel_only on job_queue", test, *parameters) for test, *parameters in (
        (OWN.test_only_what_waits_is_cancelled, {"status": "processing"}),
        (OWN.test_only_a_generation_is_cancelled,),
        (OWN.test_no_policy_of_a_projects_own_opens_more,),
        (OWN.test_nothing_else_is_changed, {"change": "status = 'completed'"}),
        (OWN.test_nothing_else_is_changed, {"change": "updated_at = now()"}),
    )),
    ("alter policy job_queue_cancel_only on job_queue using (created_by = (select auth.uid()))",
     OWN.test_only_what_waits_is_cancelled, {"status": "processing"}),
    ("grant update on job_queue to authenticated",
     OWN.test_nothing_else_is_changed, {"change": "status = 'cancelled', priority = 9"}),
    ("alter function edge_private.enqueue_own_job set search_path = ''",
     SCHEMA.test_few_functions_have_their_owners_rights_and_take_no_name_from_the_caller),
    ("grant usage on schema edge_private to public",
     SCHEMA.test_no_function_is_open_to_clients_but_the_users_own_enqueue),
    ("grant usage on schema picture_edge to authenticated",
     SCHEMA.test_no_function_is_open_to_clients_but_the_users_own_enqueue),
    ("grant execute on function edge_private.follow_own_cancel to authenticated",
     SCHEMA.test_no_function_is_open_to_clients_but_the_users_own_enqueue),
    ("alter view queue_health reset (security_invoker)",
     CATALOGUE.test_the_linter_has_nothing_to_say, {"lint": "security_definer_view"}),
    ("create function public.open() returns text language sql security definer set search_path = '' as 'select null'",
     CATALOGUE.test_the_linter_has_nothing_to_say, {"lint": "security_definer_search_path"}),
    ("drop policy edge_secrets_service_role on edge_secrets",
     CATALOGUE.test_the_linter_has_nothing_to_say, {"lint": "rls_enabled_no_policy"}),
]  # fmt: skip


LOCK_TIMEOUT = ("SET lock_timeout TO '3s'", "SET lock_timeout TO '300ms'")
"""A function's own lock_timeout overrides the session's."""


@pytest.fixture
def connect(connect: Callable[..., Database]) -> Callable[..., Database]:
    """A mutant that waits for a lock shows it at once: the lock time-out and the search for deadlocks begin early."""

    def impatient(**options: bool) -> Database:
        connection = connect(**options)
        connection.execute("set lock_timeout = '300 ms'; set deadlock_timeout = '50 ms'")
        connection.commit()
        return connection

    return impatient


def mutant_id(mutant):
    return f"{mutant[0]}: {mutant[1][:40]} → {mutant[2][:20] or 'nothing'}"


@pytest.mark.parametrize("mutant", MUTANTS, ids=mutant_id)
def test_each_guard_is_needed(mutant, db, request):
    function, there, broken, test, *parameters = mutant
    definition = db.execute(
        "select pg_get_functiondef(oid) as it from pg_proc"
        " where pronamespace in ('public'::regnamespace, 'picture_edge'::regnamespace, 'edge_private'::regnamespace)"
        " and proname = %s and position(%s in pg_get_functiondef(oid)) > 0", (function, there),
    ).fetchone()["it"]  # fmt: skip
    db.execute(definition.replace(there, broken).replace(*LOCK_TIMEOUT))
    fails(test, request, *parameters)


@pytest.mark.parametrize("mutant", OUTSIDE, ids=lambda mutant: mutant[0])
def test_each_guard_that_is_no_function_is_needed(mutant, db, request):
    statements, test, *parameters = mutant
    db.execute(statements)
    fails(test, request, *parameters)


def fails(test, request, given=MappingProxyType({})):
    """Run a test with its fixtures, and those parameters that are none: it must not pass."""
    fixtures = [name for name in inspect.signature(test).parameters if name not in given]
    with pytest.raises(
        (AssertionError, TypeError, ValueError, AttributeError, psycopg.Error, Failed)
    ):
        test(**given, **{name: request.getfixturevalue(name) for name in fixtures})
