from __future__ import annotations

import pytest

from libs.tenancy.roles import PERMISSIONS, Role
from services.gateway.forwarding import FORWARDS, Table

TABLE = Table()


def test_every_forward_is_found_by_its_path_and_needs_a_permission_that_exists():
    for forward in FORWARDS:
        found = TABLE.find(forward.path.replace("{id}", "cam_0190"))
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
