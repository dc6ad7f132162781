"""One dead letter's content put right by hand: for an event whose sender will not send it better, and which must not be lost.

Off unless a deployment turns it on. What the event is (its id, type, subject, organization, times) stays as it was sealed; its
data alone is replaced, and must be what its contract promises. The bytes as they came are kept, and who changed what, why.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any
from uuid import UUID

import orjson

from libs.clock import now, rfc3339
from libs.contracts import envelope as envelopes
from libs.contracts.envelope import MAX_EVENT_BYTES
from libs.contracts.event import registry
from libs.errors import Conflict, ContractViolated, Forbidden, Invalid, NotFound, UnknownVersion
from libs.messaging.work import UnitOfWork

MAX_EDITS = 20


class EditingIsOff(Forbidden):
    code = "editing_is_off"

    def __init__(self) -> None:
        super().__init__(
            "letters are not edited here: OUTRIDER_EDIT_DEAD_LETTERS is off; mend the reader and replay instead"
        )


async def edit(
    work: UnitOfWork,
    consumer: str,
    event_id: UUID,
    *,
    sha256: str,
    data: dict[str, Any] | None,
    binary: bytes | None,
    reason: str,
    public_id: str,
) -> None:
    """Replace the content of a dead or parked letter: `data` of most events, `binary` of those that carry bytes. Audited.

    `sha256` is that of the bytes that were read: what somebody else changed meanwhile is not overwritten.

    Raises:
        NotFound, Conflict: it is other bytes by now, is not dead or parked, or was edited MAX_EDITS times.
        Invalid: the content is not what the event's contract promises, or it speaks of something else than before.
    """
    row = await work.session.fetchrow(
        "SELECT state, envelope, jsonb_array_length(edits) AS edits FROM inbox "
        "WHERE org_id = $1 AND consumer = $2 AND event_id = $3 "
        "AND (error_class IS NOT NULL OR state IN ('dead', 'parked')) FOR UPDATE",
        work.org_id, consumer, event_id,
    )  # fmt: skip
    if row is None:
        raise NotFound("there is no dead letter with this id")
    if row["state"] not in ("dead", "parked"):
        raise Conflict(
            f"the letter is {row['state']}: it is edited only while it is dead or parked", code="letter_state"
        )
    before = bytes(row["envelope"])
    if hashlib.sha256(before).hexdigest() != sha256:
        raise Conflict("the letter has other bytes by now: read it again", code="letter_changed", pointer="/sha256")
    if row["edits"] >= MAX_EDITS:
        raise Conflict(f"the letter was edited {MAX_EDITS} times", code="too_many_edits")
    after = _replaced(before, data, binary)
    entry = {
        "at": rfc3339(now()), "by": work.actor, "reason": reason, "sha256_before": sha256,
        "sha256_after": hashlib.sha256(after).hexdigest(),
    }  # fmt: skip
    await work.session.execute(
        "UPDATE inbox SET original = coalesce(original, envelope), envelope = $4, edits = edits || $5::text::jsonb "
        "WHERE org_id = $1 AND consumer = $2 AND event_id = $3",
        work.org_id, consumer, event_id, after, orjson.dumps([entry]).decode(),
    )  # fmt: skip
    # The reason stays out: it is erased with the org, the audit log's chain cannot forget a word.
    told = {name: entry[name] for name in ("sha256_before", "sha256_after")}
    work.audit("dead_letter.edited", public_id, told)


def _replaced(before: bytes, data: dict[str, Any] | None, binary: bytes | None) -> bytes:
    try:
        known = envelopes.read(before)
        document = orjson.loads(before)
        if known.binary is None and data is not None:
            document["data"] = data
        elif known.binary is not None and binary is not None:
            document["data_base64"] = base64.b64encode(binary).decode("ascii")
        else:
            wanted = "data" if known.binary is None else "data_base64"
            raise Invalid(f"an event {known.type} carries its content as {wanted}", pointer=f"/{wanted}")
        after = orjson.dumps(document)
        event = registry.open(envelopes.read(after))
    except (ContractViolated, UnknownVersion) as error:
        raise Invalid(str(error), code="contract_violated", pointer="/data") from None
    except TypeError:  # a number or a text that no JSON of ours can say
        raise Invalid("the content cannot be written as JSON", pointer="/data") from None
    if len(after) > MAX_EVENT_BYTES:
        raise Invalid(f"an event has at most {MAX_EVENT_BYTES} bytes, this would have {len(after)}", pointer="/data")
    if event.subject() != known.subject:
        raise Invalid(
            "the content speaks of something else than this event does", code="other_subject", pointer="/data"
        )
    return after
