"""Sequences as trees: HeyReach's nodes and ours."""

from __future__ import annotations

from libs.errors import ContractViolated, Invalid, Unsupported
from libs.providers.fields import Fields, JsonObject
from libs.providers.records import LinkedInNode, NodeKind

DEEPEST = 100  # nodes one after the other; real sequences have a dozen
KINDS = {
    "CONNECTION_REQUEST": NodeKind.CONNECTION_REQUEST,
    "MESSAGE": NodeKind.MESSAGE,
    "INMAIL": NodeKind.INMAIL,
    "VIEW_PROFILE": NodeKind.VIEW_PROFILE,
    "FOLLOW": NodeKind.FOLLOW,
    "CHECK_IS_CONNECTION": NodeKind.IS_CONNECTED,
    "CHECK_IS_OPEN_PROFILE": NodeKind.IS_OPEN_PROFILE,
    "END": NodeKind.END,
}
_WORDS = {kind: word for word, kind in KINDS.items()}
_HOURS = {"HOUR": 1, "DAY": 24}
SHORTEST_DELAY_HOURS = 3  # of every node, the last included
# A path that ends without a word gets its end: the provider refuses one that has none.
_END: JsonObject = {"nodeType": "END", "actionDelay": SHORTEST_DELAY_HOURS, "actionDelayUnit": "HOUR"}
_WITH_TEXT = (NodeKind.CONNECTION_REQUEST, NodeKind.MESSAGE, NodeKind.INMAIL)
_BRANCHING = (NodeKind.CONNECTION_REQUEST, NodeKind.IS_CONNECTED, NodeKind.IS_OPEN_PROFILE)


def read_node(fields: Fields, depth: int = 0) -> LinkedInNode:
    if depth >= DEEPEST:
        raise ContractViolated(f"sequence is deeper than {DEEPEST} nodes")
    word = fields.filled("nodeType")
    if word is None:
        raise fields.refuse("nodeType", "is missing")
    unit = fields.filled("actionDelayUnit") or "HOUR"
    if unit not in _HOURS:
        raise fields.refuse("actionDelayUnit", "is neither HOUR nor DAY")
    payload = fields.nested("payload")
    kind = KINDS.get(word.strip().upper(), NodeKind.OTHER)
    subject, texts = _texts(payload, kind)
    return LinkedInNode(
        kind=kind,
        delay_hours=int(fields.identifier("actionDelay") or 0) * _HOURS[unit],
        texts=texts,
        fallback_text=_fallback(payload, kind),
        subject=subject,
        following=_child(fields, "unconditionalNode", depth),
        if_met=_child(fields, "conditionalNode", depth),
    )


def node_to_write(node: LinkedInNode, depth: int = 0) -> JsonObject:
    """
    Raises:
        Unsupported: a kind that this provider does not have, or that we cannot write.
        Invalid: texts where there can be none, or the other way round.
    """
    word = _WORDS.get(node.kind)
    if word is None:
        raise Unsupported(f"HeyReach sequences with a step of kind {node.kind.value} can be read, and not be written")
    if depth >= DEEPEST:
        raise Invalid(f"a sequence of more than {DEEPEST} steps one after the other")
    if bool(node.texts) and node.kind not in _WITH_TEXT:
        raise Invalid(f"a step of kind {node.kind.value} has no text")
    if not node.texts and node.kind in (NodeKind.MESSAGE, NodeKind.INMAIL):
        raise Invalid(f"a step of kind {node.kind.value} needs a text")
    if node.kind is NodeKind.INMAIL and not node.subject:
        raise Invalid("an InMail needs a subject")
    days, hours = divmod(node.delay_hours, 24)
    by_day = days > 0 and not hours
    written: JsonObject = {
        "nodeType": word,
        "actionDelay": days if by_day else node.delay_hours,
        "actionDelayUnit": "DAY" if by_day else "HOUR",
    }
    if node.kind in _WITH_TEXT:
        written["payload"] = _payload(node)
    if node.kind is not NodeKind.END:
        written["unconditionalNode"] = _written(node.following, depth)
        if node.if_met is not None or node.kind in _BRANCHING:
            written["conditionalNode"] = _written(node.if_met, depth)
    return written


def same_sequence(one: LinkedInNode | None, two: LinkedInNode | None) -> bool:
    """An end that is not said is an end all the same."""
    if _is_end(one) or _is_end(two):
        return _is_end(one) and _is_end(two)
    assert one is not None
    assert two is not None
    said = [(node.kind, node.delay_hours, node.texts, node.fallback_text, node.subject) for node in (one, two)]
    return said[0] == said[1] and same_sequence(one.following, two.following) and same_sequence(one.if_met, two.if_met)


def _is_end(node: LinkedInNode | None) -> bool:
    return node is None or node.kind is NodeKind.END


def _child(fields: Fields, name: str, depth: int) -> LinkedInNode | None:
    return read_node(fields.nested(name), depth + 1) if fields.raw.get(name) is not None else None


def _written(node: LinkedInNode | None, depth: int) -> JsonObject:
    return dict(_END) if node is None else node_to_write(node, depth + 1)


def _payload(node: LinkedInNode) -> JsonObject:
    def text(words: str) -> object:
        return {"subject": node.subject, "message": words} if node.kind is NodeKind.INMAIL else words

    payload: JsonObject = {"messages": [text(words) for words in node.texts]}
    if node.fallback_text is not None:
        payload["fallbackMessage"] = text(node.fallback_text)
    return payload


def _texts(payload: Fields, kind: NodeKind) -> tuple[str | None, tuple[str, ...]]:
    """An InMail's texts have a subject each; the first one's stands for all."""
    if kind is NodeKind.INMAIL:
        rows = payload.rows("messages")
        return next((row.text("subject") for row in rows), None), tuple(row.text("message") or "" for row in rows)
    texts = payload.raw.get("messages")
    if texts is None:
        return None, ()
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise payload.refuse("messages", "is not a list of texts")
    return None, tuple(texts)


def _fallback(payload: Fields, kind: NodeKind) -> str | None:
    if kind is NodeKind.INMAIL:
        return payload.nested("fallbackMessage").text("message")
    return payload.text("fallbackMessage")
