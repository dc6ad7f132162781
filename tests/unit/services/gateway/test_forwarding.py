from __future__ import annotations

import pytest

from libs.tenancy.roles import PERMISSIONS, Role
from services.gateway.forwarding import FORWARDS, Table

TABLE = Table()
SLOT = "2026-07-11T12:00:00.000000Z"


def test_every_forward_is_found_by_its_path_and_needs_a_permission_that_exists():
    for forward in FORWARDS:
        found = TABLE.find(
            forward.path.replace("{id}", "cam_0190")
            .replace("{slot}", SLOT)
            .replace("{lead}", "led_0190")
            .replace("{table}", "leads")
        )
        assert found is not None
        assert found[forward.method] is forward
        assert forward.permission in PERMISSIONS[Role.SUPER_ADMIN]


@pytest.mark.parametrize(
    "path",
    [
        "/v1", "/leads", "/v2/leads", "/v1/leads/", "/v1/leads/a/b", "/v1/leads/..", "/v1/leads/a.b", "/v1/leads/a b",
        "/v1/leads/é", "/v1/leads/a\n", "/v1/leads/" + "a" * 101, "/V1/leads", "/v1//leads", "/v1/companies",
    ],
)  # fmt: skip
def test_other_paths_are_not_forwarded(path):
    assert TABLE.find(path) is None


@pytest.mark.parametrize("slot", ["..", ".", "...", "%2e%2e", "a/b", "", " ", "2026 07", "é", "٢٠٢٦", "a\n", "a" * 101])
def test_a_slot_is_nothing_that_somebody_on_the_way_would_rewrite(slot):
    assert TABLE.find(f"/v1/reconciliation-schedules/sch_1/slots/{slot}") is None
