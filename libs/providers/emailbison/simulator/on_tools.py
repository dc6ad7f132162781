"""The vendor's MCP server as far as its tools can be asked for: streamable HTTP, answered in JSON, with a session.

Its names are those that were seen; of their schemas nothing was written down, so they are empty objects. No tool can be
called here: what one answers was not captured.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

PATH = "/mcp"
PAGE = 30  # tools of one answer; how many the real one gives is not known, so that clients must be able to go on
_VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26")
_METHOD_NOT_FOUND, _INVALID_PARAMS = -32601, -32602

TOOLS = (
    "discover_tools", "search_api_spec", "get_api_spec_summary", "call_api", "get_active_workspace_info",
    "validate_workspace_key", "set_active_workspace", "reset_to_primary_workspace", "bulk_count", "bulk_export",
    "export_leads_csv", "export_replies_csv", "search_replies", "get_campaign_analytics", "get_leads_analytics",
    "get_replies_analytics", "list_campaigns", "get_campaign", "create_campaign", "update_campaign", "pause_campaign",
    "resume_campaign", "archive_campaign", "duplicate_campaign", "get_campaign_stats", "get_campaign_stats_by_date",
    "import_leads_to_campaign", "remove_leads_from_campaign", "stop_future_emails_for_leads",
    "attach_sender_emails_to_campaign", "get_sequence_steps", "create_sequence_steps", "update_sequence_steps",
    "list_leads", "get_lead", "create_lead", "update_lead", "bulk_create_leads", "upsert_multiple_leads",
    "unsubscribe_lead", "blacklist_lead", "list_replies", "get_reply", "get_conversation_thread", "send_reply",
    "compose_new_email", "mark_reply_interested", "list_webhooks", "get_webhook", "create_webhook", "update_webhook",
    "get_sample_webhook_payload", "send_test_webhook_event", "list_tags", "attach_tags_to_leads", "list_sender_emails",
    "enable_warmup", "remove_email_from_blocklist", "remove_domain_from_blocklist",
)  # fmt: skip


async def answer(request: Request, *, is_known: bool) -> Response:
    """One message to the server. `is_known`: the key is a workspace's."""
    if not is_known:
        return _said({"error": "unauthorized", "hint": "send a workspace's api token"}, 401)
    if not request.headers.get("instance-url", "").startswith(("http://", "https://")):
        return _said({"error": "the header Instance-URL is missing", "hint": "https://<your instance>"}, 400)
    if request.method == "DELETE":
        return Response(status_code=200)  # the session ends
    if request.method != "POST":
        return Response(status_code=405, headers={"allow": "POST, DELETE"})  # nothing is told unasked
    message = orjson.loads(await request.body())
    if "id" not in message:
        return Response(status_code=202)
    result = _result(message.get("method", ""), message.get("params") or {})
    response = _said({"jsonrpc": "2.0", "id": message["id"], **result})
    if message.get("method") == "initialize":
        response.headers["mcp-session-id"] = "simulated"
    return response


def _result(method: str, params: Mapping[str, Any]) -> Mapping[str, object]:
    if method == "initialize":
        wanted = params.get("protocolVersion")
        return {
            "result": {
                "protocolVersion": wanted if wanted in _VERSIONS else _VERSIONS[0],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "EmailBison", "version": "beta"},
            }
        }
    if method == "ping":
        return {"result": {}}
    if method != "tools/list":
        return {"error": {"code": _METHOD_NOT_FOUND, "message": "Method not found"}}
    start = _position(params.get("cursor"))
    if start is None:
        return {"error": {"code": _INVALID_PARAMS, "message": "Invalid cursor"}}
    tools = [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS[start : start + PAGE]]
    more = start + PAGE < len(TOOLS)
    return {"result": {"tools": tools, **({"nextCursor": _cursor(start + PAGE)} if more else {})}}


def _cursor(position: int) -> str:
    return base64.urlsafe_b64encode(str(position).encode()).decode()


def _position(cursor: object) -> int | None:
    if cursor is None:
        return 0
    try:
        position = int(base64.urlsafe_b64decode(str(cursor)))
    except ValueError:
        return None
    return position if 0 <= position < len(TOOLS) else None


def _said(value: object, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, media_type="application/json")
