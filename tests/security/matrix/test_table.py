"""The reviewed table: whole, and within rules that no reviewer can wave through."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator

import pytest

from tests.security.matrix import probes
from tests.security.matrix.coverage import missing_cells, operations, unknown_routes
from tests.security.matrix.principals import CONTEXTS, GROUPS, STRANGERS
from tests.security.matrix.table import FILE, Malformed, Table, merged, parse, write

# Answers without any id or name: counts, slots that nobody started, which tables there are, how far a reading is.
SHOWS_NOTHING = ("/analytics/ledger", "/slots", "/exports", "/sync-health")
VIEWERS = ("view", "vper")
STAFF = ("sup", "sin", "sas", "saw", "sop", "sopn", "snon")
LIMITED = {"view": "o", "vper": "o", "mgr": "o", "both": "o", "peer": "s", "lper": ""}
# What may still be done about an archived company: what ends something, keeps what was safe, or is of the org.
ENDS = re.compile(
    r"/(archive|pause|stop|cancel|releases|replays(/\S+)?|webhook-endpoints/\S+/rotations|api-keys/\S+|users/\S+)$"
    r"|DELETE |PATCH (/v1)?/(provider-accounts|webhook-endpoints|users|dead-letter-groups)/|POST /v1/assumptions|POST /webhooks/"
)


@pytest.fixture
def table() -> Table:
    return parse(FILE.read_text())


def cells(table: Table, section: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    for operation, lines in table.cells[section].items():
        for label, found in lines.items():
            yield operation, label, found


def test_no_cell_is_missing_and_none_is_there_for_nothing(table: Table) -> None:
    assert missing_cells(table) == []
    assert sum(len(found) for section in GROUPS for _, _, found in cells(table, section)) > 5000


def test_a_cell_a_line_an_operation_and_a_principal_that_is_missing_is_told(table: Table) -> None:
    section, operation = "gateway, members", "GET /v1/leads/{id}"
    lines = table.cells[section]

    for spoil in (
        lambda spoilt: spoilt.cells[section][operation]["id=other"].pop("mgr"),
        lambda spoilt: spoilt.cells[section][operation].pop("id=other"),
        lambda spoilt: spoilt.cells[section].pop(operation),
        lambda spoilt: [line.pop("mgr") for line in spoilt.cells[section][operation].values()],
        lambda spoilt: spoilt.put(section, operation, "id=other", "mgr", "?"),
    ):
        spoilt = copy.deepcopy(table)
        spoil(spoilt)
        told = missing_cells(spoilt)
        assert any(f"[{section}] {operation}, id=other: " in one and "mgr" in one and "--add" in one for one in told)

    extra = copy.deepcopy(table)
    extra.put(section, operation, "id=elsewhere", "mgr", "404")
    assert "that nobody asks for" in missing_cells(extra)[0]
    assert lines is table.cells[section]


def test_a_route_that_nobody_asks_and_one_that_is_gone_are_told() -> None:
    found: dict[str, set[str]] = {}
    for operation in operations():
        found.setdefault(operation.process, set()).add(operation.route)
    assert unknown_routes(found) == []

    found["gateway"] = found["gateway"] - {"GET /v1/me"} | {"POST /v1/everything"}
    new, gone = unknown_routes(found)

    assert new.startswith("gateway POST /v1/everything is served and nobody asks it: add it to tests/")
    assert gone.startswith("gateway GET /v1/me is asked and not served")


def test_the_file_is_as_it_would_be_written(table: Table) -> None:
    columns = {name: [one.name for one in group] for name, group in GROUPS.items()}
    assert write(table, columns) == FILE.read_text(), "run `python -m tests.security.matrix --add`"


@pytest.mark.parametrize(
    "spoilt",
    [
        "[a] x\n<<<<<<< HEAD\n",
        "[a] x y\nGET /\n  -  200\n",
        "GET /\n",
        "[a] x\nGET /\n  -  200\n  -  200\n",
        "[a] x\n[a] x\n",
    ],
    ids=["a conflict", "a cell too few", "outside", "a line twice", "a section twice"],
)
def test_a_table_that_cannot_be_read_is_no_table(spoilt: str) -> None:
    with pytest.raises(Malformed, match=r"table\.txt:\d"):
        parse(spoilt)


def test_two_sides_are_merged_cell_by_cell() -> None:
    base = parse("[a] x y\nGET /\n  -  200 200\n  +  200 404\n")
    ours = parse("[a] x y z\nGET /\n  -  404 200 403\n  +  200 404 403\n")
    theirs = parse("[a] x y\nGET /\n  -  401 200\n  +  200 200\nGET /new\n  -  200 200\n")

    found = merged(base, ours, theirs)

    assert found.cells["a"]["GET /"] == {
        "-": {"x": "?", "y": "200", "z": "403"},
        "+": {"x": "200", "y": "200", "z": "403"},
    }
    assert found.cells["a"]["GET /new"] == {"-": {"x": "200", "y": "200"}}


# Rules


def test_nobody_is_let_in_as_nobody(table: Table) -> None:
    strangers = [name for name in (one.name for one in STRANGERS) if name not in ("susp", "gone")]
    outside = [one.name for one in CONTEXTS if one.home is None]
    for operation, label, found in cells(table, "gateway, strangers"):
        assert {found[name][:3] for name in strangers} == {"401"}, (operation, label)
        assert {found[name][:3] for name in ("susp", "gone")} == {"403"}, (operation, label)
    for operation, label, found in cells(table, "owners"):
        assert {found[name] for name in outside} == {"401"}, (operation, label)
        assert found["lack"] == "403", (operation, label)


def test_what_is_another_orgs_is_answered_as_what_never_was(table: Table) -> None:
    for section in GROUPS:
        for operation, lines in table.cells[section].items():
            for label, found in lines.items():
                if label.endswith("=other"):
                    found = {name: one for name, one in found.items() if (operation, name) not in probes.SEES_ALL}
                    assert found.items() <= lines[label.replace("=other", "=nobody")].items(), (section, operation)
                    reached = [one for one in found.values() if re.fullmatch(r"2\d\d[a-z]*[osawt]\w*", one)]
                    assert reached == [] or operation.startswith("POST /v1/reconciliations"), (operation, label)


def test_others_data_is_seen_by_staff_alone(table: Table) -> None:
    for section in GROUPS:
        for operation, label, found in cells(table, section):
            seen = {name for name, outcome in found.items() if "t" in outcome[3:] and outcome[0] == "2"}
            assert seen <= {"sup", "sop"}, (operation, label)


def test_who_is_limited_to_a_company_sees_that_one(table: Table) -> None:
    for section in ("gateway, members", "owners"):
        for operation, label, found in cells(table, section):
            for name, own in LIMITED.items():
                if name in found and "suspended" not in label and found[name][0] == "2":
                    assert not {"o", "s", "a"} & set(found[name][3:]) - {own}, (operation, label, name)


def test_who_is_refused_learns_nothing(table: Table) -> None:
    for section in GROUPS:
        for operation, label, found in cells(table, section):
            for name, outcome in found.items():
                if outcome[0] != "2":  # a code, and whose data the answer holds after it: nobody's
                    assert outcome in table.codes or outcome.isdigit(), (operation, label, name)


def test_nothing_is_begun_for_an_archived_company(table: Table) -> None:
    begun = set()
    for section in ("gateway, members", "owners"):
        for operation, label, found in cells(table, section):
            if label.endswith("=archived") and "GET " not in operation and not ENDS.search(operation):
                if label.startswith("own "):  # a campaign of another account than the one that is asked for
                    continue
                reached = {name: one for name, one in found.items() if one[0] == "2"}
                assert reached == {}, (operation, label)
                begun |= {operation for one in found.values() if one == "409a"}
    assert len(begun) > 25


def test_an_archived_company_is_read_by_those_who_see_all_companies(table: Table) -> None:
    for operation, label, found in cells(table, "gateway, members"):
        if "GET " in operation:
            for name in ("view", "vper", "mgr", "peer", "both", "left", "lper"):
                letters = set(found[name][3:] if found[name][0] == "2" else "")
                assert not letters & ({"o", "s", "a"} if name in ("left", "lper") else {"a"}), (operation, label, name)
            if label == "id=archived" and "o" in lines_of(table, operation)["id=own"]["adm"][3:]:
                assert "a" in found["adm"][3:], (operation, label)


def lines_of(table: Table, operation: str) -> dict[str, dict[str, str]]:
    return table.cells["gateway, members"][operation]


def test_viewers_change_nothing(table: Table) -> None:
    for section in ("gateway, members", "owners"):
        for operation, label, found in cells(table, section):
            if "GET " not in operation:
                assert {found[name][0] for name in VIEWERS if name in found} == {"4"}, (operation, label)


def test_in_a_suspended_org_only_staff_do_anything(table: Table) -> None:
    for operation, label, found in cells(table, "gateway, members"):
        if label.endswith("suspended"):
            members = [name for name in found if name not in (*STAFF, "ali", "alin")]
            assert {found[name] for name in members} == {"403o"}, (operation, label)


def test_each_object_that_is_asked_for_exists(table: Table) -> None:
    """Else a 404 would say nothing: somebody sees the own one, and somebody the sibling's."""
    for section in ("gateway, members", "owners"):
        for operation, label, found in cells(table, section):
            if "GET " in operation and label.split("=")[-1] in ("own", "-") and not operation.endswith(SHOWS_NOTHING):
                if (operation, label) in probes.EMPTY:
                    continue
                assert any({"o", "w"} & set(one[3:]) for one in found.values() if one[0] == "2"), (operation, label)
            if (operation, label) in probes.EMPTY:
                continue
            if "GET " in operation and label == "id=sibling" and not operation.endswith(SHOWS_NOTHING):
                assert any("s" in one[3:] for one in found.values()), (operation, label)
