from __future__ import annotations

import base64
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.errors import Invalid
from libs.ids import OrgId
from libs.web.cursors import Cursors, page

ORG = OrgId(uuid4())
CURSORS = Cursors("secret")

positions = st.lists(st.one_of(st.text(), st.integers(-(2**53), 2**53), st.none(), st.booleans()), max_size=4)


@given(positions, st.text(max_size=20))
def test_what_is_written_is_read(position, query):
    query = query.encode("utf-8", "replace").decode()
    position = [p.encode("utf-8", "replace").decode() if isinstance(p, str) else p for p in position]

    assert CURSORS.read(CURSORS.write(position, org_id=ORG, query=query), org_id=ORG, query=query) == position


def test_the_first_page_has_no_cursor():
    assert CURSORS.read(None, org_id=ORG, query="leads") is None


@given(st.text(max_size=60))
def test_garbage_is_refused(text):
    with pytest.raises(Invalid) as caught:
        CURSORS.read(text, org_id=ORG, query="leads")
    assert caught.value.code == "invalid_cursor"


def test_a_cursor_is_for_one_org_one_list_and_one_key():
    cursor = CURSORS.write([1], org_id=ORG, query="leads")

    for cursors, org, query in (
        (CURSORS, OrgId(uuid4()), "leads"),
        (CURSORS, ORG, "campaigns"),
        (Cursors("other"), ORG, "leads"),
    ):
        with pytest.raises(Invalid):
            cursors.read(cursor, org_id=org, query=query)


@given(st.integers(0, 200), st.integers(0, 7))
def test_a_changed_bit_is_refused(where, bit):
    raw = bytearray(base64.urlsafe_b64decode(CURSORS.write(["2026-07-01", "x"], org_id=ORG, query="q") + "=="))
    raw[where % len(raw)] ^= 1 << bit

    with pytest.raises(Invalid):
        CURSORS.read(base64.urlsafe_b64encode(bytes(raw)).decode(), org_id=ORG, query="q")


def test_a_page_is_cut_at_its_limit():
    assert page([1, 2, 3], 2) == ([1, 2], True)
    assert page([1, 2], 2) == ([1, 2], False)
    assert page([], 2) == ([], False)
