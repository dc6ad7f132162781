"""Which tests are asked of which mutant. All are ordinary tests, of this folder or of the house, called as functions."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
import pytest

from tests.fixtures import database as database_fixtures
from tests.integration.libs.database import test_tenancy as tenancy
from tests.integration.services.gateway import conftest as gateway_fixtures
from tests.integration.services.gateway import test_assumptions as assumptions
from tests.integration.services.gateway import test_lifecycle as lifecycle
from tests.integration.services.gateway import test_matrix as matrix
from tests.integration.services.gateway import test_own_routes as own_routes
from tests.integration.services.gateway import test_rotation as rotation
from tests.integration.services.gateway import test_scopes as scopes
from tests.integration.services.gateway import test_sign_in as people
from tests.integration.services.gateway import test_users as users
from tests.integration.services.provider_sync import test_archived as archived
from tests.integration.services.provider_sync import test_effects as effects
from tests.integration.services.provider_sync import test_endpoint_rotation as token_rotation
from tests.integration.services.provider_sync import test_standing as standing
from tests.integration.services.provider_sync import test_whose_campaigns as whose_campaigns
from tests.integration.services.reconciliation import conftest as reconciliation_fixtures
from tests.integration.services.reconciliation import test_archived as uncompared
from tests.integration.services.reconciliation import test_slots as slots
from tests.integration.services.webhook_ingest import conftest as door_fixtures
from tests.integration.services.webhook_ingest import test_endpoints as endpoints
from tests.integration.services.webhook_ingest import test_erased as erased
from tests.integration.services.webhook_ingest import test_rotation as late
from tests.integration.services.webhook_ingest import test_routes as door_routes
from tests.integration.services.webhook_ingest import test_sources as door_sources
from tests.security import test_functions as functions
from tests.security import test_privileges as privileges
from tests.security import test_routes as routes
from tests.security import test_rows as rows
from tests.security.calling import Test, call
from tests.unit.libs.tenancy import test_context as context
from tests.unit.libs.tenancy import test_roles as roles
from tests.unit.libs.tenancy import test_signing as signing
from tests.unit.libs.web import test_exports as exports
from tests.unit.libs.web import test_tenant as tenant
from tests.unit.services.gateway import test_domain as domain
from tests.unit.services.gateway import test_sign_in as sign_in
from tests.unit.services.webhook_ingest import test_domain as door_domain

# What the catalogue says. grants.txt is not among them: it would kill every mutant of the database, and tells no reason.
CATALOGUE: tuple[Test, ...] = (
    tenancy.test_every_tenant_table_is_closed_and_forced,
    tenancy.test_every_tenant_table_lets_its_service_in_by_org_alone,
    tenancy.test_policies_call_functions_of_ours_only,
    tenancy.test_no_policy_of_a_login_lets_all_rows_pass,
    tenancy.test_every_key_between_tenant_tables_holds_the_org,
    tenancy.test_every_reference_between_tenant_tables_stays_within_the_org,
    tenancy.test_a_view_sees_what_its_reader_may_see,
    tenancy.test_functions_that_see_more_are_few_closed_to_others_and_pinned_to_their_schema,
    tenancy.test_a_login_is_bound_by_row_level_security_and_owns_nothing,
    privileges.test_every_table_is_a_tenants,
    privileges.test_every_policy_is_one_of_ours_word_for_word,
    privileges.test_nobody_has_a_right_that_the_rules_do_not_give,
    privileges.test_a_schema_is_used_by_its_service_alone,
    privileges.test_only_logins_may_connect_and_they_may_do_nothing_else,
    privileges.test_our_roles_have_no_powers_and_become_none_but_dispatch,
    functions.test_all_functions_are_known,
    functions.test_a_function_that_sees_more_only_reads_and_lets_out_ids_and_hashes,
    functions.test_a_keeper_is_the_owners_and_told_nothing_but_how_long,
    functions.test_what_keepers_call_is_called_by_nobody_else,
    functions.test_the_owner_may_read_what_its_functions_read,
    functions.test_what_policies_ask_is_answered_by_the_settings_alone,
)

# What a login sees and can do, on rows of two orgs.
ROWS: tuple[Test, ...] = (
    tenancy.test_a_query_without_a_where_clause_sees_its_own_org_only,
    tenancy.test_an_update_or_delete_without_a_where_clause_changes_its_own_org_only,
    tenancy.test_a_company_scope_hides_other_companies_and_what_has_none,
    tenancy.test_the_next_transaction_on_the_same_connection_starts_blind,
    tenancy.test_dispatch_sees_messages_of_all_orgs_and_no_other_table,
    tenancy.test_the_standalone_login_sees_nothing_by_itself,
    tenancy.test_a_login_has_no_rights_in_other_schemas,
    tenancy.test_in_its_own_schema_a_login_can_neither_truncate_nor_change_the_tables,
    tenancy.test_a_dispatch_role_ends_with_its_transaction_and_before_a_tenants_view,
    rows.test_a_row_of_another_org_cannot_be_inserted,
    rows.test_in_a_company_scope_no_row_goes_to_another_company,
    rows.test_a_lead_is_seen_through_rows_of_ones_companies_only,
)

ROLES: tuple[Test, ...] = (
    routes.test_a_role_may_what_its_name_says,
    roles.test_what_each_role_may,
    roles.test_every_role_either_sees_all_companies_or_has_some_or_names_none,
)
# The quickest first: the first that fails has killed.
CODE: Mapping[str, tuple[Test, ...]] = {
    "roles": ROLES,
    "signing": (
        signing.test_a_forged_context_is_refused,
        signing.test_what_was_signed_is_what_is_read,
        signing.test_a_context_is_for_one_owner,
        signing.test_a_context_lives_a_minute_at_most,
        signing.test_a_remembered_context_is_judged_anew_once_it_has_ended,
        context.test_a_setting_reads_back_as_the_scope,
        context.test_no_company_is_not_all_companies,
    ),
    "domain": (
        context.test_a_row_without_a_company_is_for_those_who_see_all,
        domain.test_nobody_gets_more_than_they_have,
        domain.test_no_key_can_make_a_mightier_one,
    ),
    "routes": (
        tenant.test_a_route_works_in_the_callers_org_and_companies_and_commits,
        routes.test_an_owner_wants_the_permission_which_the_gateway_wanted,
        routes.test_a_route_of_the_gateway_wants_its_permission,
        routes.test_a_forward_wants_its_permission_and_hands_on_no_more_than_the_callers,
    ),
    "gate": (
        domain.test_nobody_gets_more_than_they_have,
        matrix.test_owners_are_told_of_whom_the_table_lets_through,
        matrix.test_company_parameters_mean_the_same_on_every_route,
        own_routes.test_companies_are_listed_within_the_callers,
        lifecycle.test_everybody_of_a_suspended_organization_is_told_so_and_nobody_else,
        own_routes.test_a_key_that_expires_makes_none_that_lives_longer,
    ),
    "staff": (
        assumptions.test_it_is_for_one_principal_and_one_organization,
        assumptions.test_an_assumption_ends_by_the_clock_on_every_replica_also_where_it_is_remembered,
        assumptions.test_to_assume_anew_replaces_what_was,
        assumptions.test_nothing_given_away_there_outlives_it,
        assumptions.test_an_organization_gets_its_first_key_from_outside_and_no_other,
        scopes.test_a_key_may_what_is_in_its_role_and_in_its_scopes,
        scopes.test_nobody_gives_a_scope_that_they_do_not_have,
    ),
    "people": (
        people.test_role_and_companies_come_from_the_membership,
        people.test_a_suspended_organization_lets_no_person_in,
        people.test_a_change_is_in_force_at_once_here_and_within_five_seconds_elsewhere,
        users.test_nobody_gives_more_than_they_have,
        rotation.test_both_secrets_open_until_the_overlap_is_over,
    ),
    "sign_in": (sign_in.test_a_forged_token_is_refused,),
    "rows": ROWS,
    "door": (
        door_domain.test_who_is_let_in,
        door_domain.test_a_token_opens_then_is_late_then_dead,
        door_domain.test_sources_are_a_signal_until_they_are_enforced,
        door_domain.test_credentials_are_no_headers_worth_keeping,
        door_sources.test_a_forwarded_address_counts_from_a_proxy_of_ours_only,
        door_sources.test_enforced_it_is_kept_and_not_told,
        late.test_late_posts_are_kept_then_refused,
        late.test_a_late_post_does_not_make_the_good_one_a_repetition,
        endpoints.test_closing_and_a_new_token_are_known_after_a_look,
        door_routes.test_who_may_read,
        erased.test_they_are_answered_as_if_it_never_was_and_cost_their_neighbours_nothing,
    ),
    "operations": (
        effects.test_nobody_changes_what_they_cannot_see,
        whose_campaigns.test_a_campaign_is_made_for_a_company_of_the_callers_only,
        effects.test_one_key_is_one_operation_however_often_it_is_posted,
        effects.test_what_is_not_sent_is_taken_back_and_what_is_sent_is_not,
        archived.test_nothing_is_begun_for_an_archived_company,
        archived.test_what_waits_is_taken_back_but_for_what_ends_something,
    ),
    "exports": (
        exports.test_who_is_limited_to_companies_copies_nothing,
        exports.test_the_first_page_of_a_table_is_told_and_no_other_can_be_the_first,
    ),
    "rotations": (
        token_rotation.test_a_leaked_token_ends_at_once_and_is_deleted_once_the_new_one_is_there,
        token_rotation.test_one_rotation_at_a_time_unless_it_ends_all,
    ),
    "standing": (
        standing.test_no_job_of_a_suspended_organization_is_taken,
        standing.test_a_job_is_not_taken_when_its_organization_is_suspended_after_it_was_found,
        standing.test_webhooks_of_a_suspended_organization_wait_and_end_in_the_rows_they_always_end_in,
        standing.test_a_job_that_runs_when_its_organization_is_suspended_stops_asking_and_is_not_charged,
    ),
    "comparing": (
        uncompared.test_nothing_is_compared_for_an_archived_company,
        uncompared.test_a_schedule_of_an_archived_company_starts_nothing_and_can_only_be_ended,
        slots.test_a_suspended_org_starts_nothing_and_catches_up_once_it_is_resumed,
    ),
}
# These want a service, and so a database of their own each.
IN_A_HOUSE = frozenset({"gate", "people", "staff", "door", "operations", "rotations", "standing", "comparing"})
_FIXTURES = (gateway_fixtures, door_fixtures, reconciliation_fixtures, database_fixtures)

_NOT_THE_TESTS_FAULT = (
    OSError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
)

# On a busy machine a test that takes a second may take a minute, and that must not count as a kill.
_FOR_EVER_SECONDS = 300

_killed_before: Counter[tuple[str, str]] = Counter()


async def killer(
    detectors: Sequence[Test], given: Mapping[str, Any], *, kind: str, services: Sequence[str] | None = None
) -> str:
    """The name of the first test that fails, "" when none does. Those that killed this kind before go first.

    `services` narrows tests that run once per service to these.
    """
    only = {} if services is None else {"service": services}
    for test in sorted(detectors, key=lambda test: -_killed_before[kind, test.__name__]):
        try:
            # A mutant may make a test wait for ever, which is a way of failing, too.
            async with asyncio.timeout(_FOR_EVER_SECONDS):
                await _asked(test, given, only)
        except _NOT_THE_TESTS_FAULT as error:
            if not isinstance(error, TimeoutError):
                raise
            return test.__name__
        except (Exception, pytest.fail.Exception):  # noqa: BLE001 - any failure of a test is one
            _killed_before[kind, test.__name__] += 1
            return test.__name__
    return ""


async def _asked(test: Test, given: Mapping[str, Any], only: Mapping[str, Sequence[Any]]) -> None:
    given = dict(given)
    if "either_house" in test.__code__.co_varnames[: test.__code__.co_argcount]:
        # The fixture's two variants differ in how owners are reached, which no mutant touches.
        await call(_with_house(test), given, _FIXTURES, only)
    else:
        await call(test, given, _FIXTURES, only)


def _with_house(test: Test) -> Test:
    async def asked(house: Any, database: Any) -> None:
        await test(either_house=house, database=database)

    asked.__module__ = test.__module__
    return asked
