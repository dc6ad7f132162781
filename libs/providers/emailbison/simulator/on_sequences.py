"""Sequences by call. Nothing replaces one: a POST appends, a PUT changes what is named by id, a DELETE takes one away."""

from __future__ import annotations

from libs.providers.emailbison.simulator import resources
from libs.providers.emailbison.simulator.model import Campaign, Step
from libs.providers.emailbison.simulator.routing import Answer, Call, Refused, Route, invalid, missing, route, wrapped


async def _get_steps(call: Call) -> Answer:
    if not call.habits.has_v11_steps:
        raise wrapped(404, f"The route api{call.path} could not be found.", record_not_found=None)
    found = _with_steps(call)
    return 200, {"data": {"sequence_id": found.sequence_id, "sequence_steps": resources.sequence_steps(found)}}


async def _get_older_steps(call: Call) -> Answer:
    return 200, {"data": resources.older_sequence_steps(_with_steps(call))}


def _with_steps(call: Call) -> Campaign:
    found = call.campaign()
    if not found.steps:
        raise wrapped(200, f"Sequence steps do not exist for {found.name}")
    return found


async def _append(call: Call) -> Answer:
    found, rows = call.campaign(), _rows(call)
    if not call.text("title"):
        raise invalid("title", "The title field is required.")
    base = len(found.steps)
    new: dict[object, Step] = {}
    for index, row in enumerate(rows):
        text = _text(call, row, index)
        if row.get("variant") is True:
            by_id = row.get("variant_from_step_id")
            parent = new.get(row.get("variant_from_step")) if by_id is None else _step(found, by_id)
            if parent is None:
                name = f"sequence_steps.{index}.variant_from_step"
                raise invalid(name, f"The selected {name} is invalid.")
            text.parent_id, text.number = parent.id, parent.number
            parent.variants.append(text)
        else:
            # Behind what is there; the order that is told puts the new ones in order among themselves.
            text.number = base + len(new) + 1
            new[row.get("order")] = text
            found.steps.append(text)
    told = {"id": found.sequence_id, "type": "Campaign sequence", "title": call.text("title")}
    return 200, {"data": {**told, "sequence_steps": resources.sequence_steps(found)}}


async def _change(call: Call) -> Answer:
    """By the id of the sequence. Without an id a text is refused, without `variant` the server fails."""
    wanted = call.ids["sequence"]
    found = next((one for one in call.account.campaigns if str(one.sequence_id) == wanted and one.steps), None)
    if found is None:
        raise missing("sequence", wanted)
    texts = {choice.id: choice for step in found.steps for choice in step.choices}
    changed = []
    for index, row in enumerate(_rows(call)):
        name = f"sequence_steps.{index}.id"
        number = row.get("id")
        if number is None:
            raise invalid(name, f"The {name} field is required.")
        if not isinstance(number, int) or number not in texts:
            raise invalid(name, f"The selected {name} is invalid.")
        if not isinstance(row.get("variant"), bool):
            raise Refused(500, {"message": "Server Error"})
        changed.append((texts[number], _text(call, row, index), row))
    for text, new, row in changed:
        text.subject, text.body, text.wait_in_days, text.threads = new.subject, new.body, new.wait_in_days, new.threads
        order = row.get("order")
        if text.parent_id is None and isinstance(order, int):
            text.number = order
    found.steps.sort(key=lambda step: step.number)
    told = {"id": found.sequence_id, "type": "Campaign sequence", "title": call.text("title")}
    return 200, {"data": {**told, "sequence_steps": resources.sequence_steps(found)}}


async def _delete(call: Call) -> Answer:
    wanted = call.ids["step"]
    for campaign in call.account.campaigns:
        for step in campaign.steps:
            if str(step.id) == wanted:
                if len(campaign.steps) == 1:
                    return 400, {"success": False, "message": "Woops, you need at least one sequence step"}
                campaign.steps.remove(step)
                for number, left in enumerate(campaign.steps, start=1):
                    left.number = number
                return 200, {"success": True, "message": "Sequence step deleted."}
            for variant in step.variants:
                if str(variant.id) == wanted:
                    step.variants.remove(variant)
                    return 200, {"success": True, "message": "Sequence step deleted."}
    raise missing("sequence_step", wanted)


def _rows(call: Call) -> list[dict[str, object]]:
    rows = call.given.get("sequence_steps")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise invalid("sequence_steps", "The sequence_steps field is required.")
    return rows


def _text(call: Call, row: dict[str, object], index: int) -> Step:
    for name in ("email_subject", "email_body", "wait_in_days"):
        if not row.get(name) and row.get(name) != 0:
            raise invalid(f"sequence_steps.{index}.{name}", f"The sequence_steps.{index}.{name} field is required.")
    days = row["wait_in_days"]
    if not isinstance(days, int) or days < 1:
        name = f"sequence_steps.{index}.wait_in_days"
        raise invalid(name, f"The {name} field must be at least 1.")
    return Step(
        id=call.account.new_id("steps"),
        number=0,
        wait_in_days=days,
        subject=str(row["email_subject"]),
        body=str(row["email_body"]),
        threads=row.get("thread_reply") is True,
    )


def _step(found: Campaign, number: object) -> Step | None:
    return next((step for step in found.steps if step.id == number), None)


ROUTES: tuple[Route, ...] = (
    route("GET", "/campaigns/v1.1/{campaign}/sequence-steps", _get_steps),
    route("POST", "/campaigns/v1.1/{campaign}/sequence-steps", _append),
    route("PUT", "/campaigns/v1.1/sequence-steps/{sequence}", _change),
    route("GET", "/campaigns/{campaign}/sequence-steps", _get_older_steps),
    route("DELETE", "/campaigns/sequence-steps/{step}", _delete),
)
