"""The gateway's public face as one OpenAPI 3.1 document: its own routes, and those of the owners that it forwards to.

It is made from the apps as the composition roots build them, so nothing is described that does not run, and nothing runs
undescribed. The same code gives the same bytes.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, cast

import orjson
from pydantic import SecretStr

from libs.contracts.documents import untitled
from libs.database.engine import Database, DatabaseUrl
from libs.database.names import process_name
from libs.messaging.work import Units
from libs.runtime.host import Part
from libs.runtime.service import Platform
from libs.tenancy.signing import ContextVerifier, new_private_key, public_key_of
from libs.web import problems
from services.analytics.app import build as build_analytics
from services.analytics.settings import AnalyticsSettings
from services.gateway.app import build as build_gateway
from services.gateway.forwarding import FORWARDS, PREFIX, Forward, segment
from services.gateway.settings import GatewaySettings
from services.provider_sync.app import build as build_provider_sync
from services.provider_sync.settings import ProviderSyncSettings
from services.reconciliation.app import build as build_reconciliation
from services.reconciliation.settings import ReconciliationSettings
from services.webhook_ingest.app import build as build_webhook_ingest
from services.webhook_ingest.settings import WebhookIngestSettings

FILE = "openapi.json"

Document = dict[str, Any]

_METHODS = ("get", "put", "post", "delete", "patch")
_WRITES = ("put", "post", "delete", "patch")
_SECURITY = "apiKey"

# Which refusals any route may give; 500 is none: it would be our bug.
_REFUSALS = (400, 401, 403, 404, 408, 413, 415, 422, 429, 431, 503)
_OF_WRITES = (409,)
_OF_FORWARDS = (504,)
_OF_HEALTH = (503,)

_REQUEST_ID: Document = {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}}
_MORE_HEADERS: dict[int, Document] = {
    401: {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}},
    429: {"Retry-After": {"$ref": "#/components/headers/RetryAfter"}},
    503: {"Retry-After": {"$ref": "#/components/headers/RetryAfter"}},
}
_DESCRIPTION = (
    "Bodies are JSON (UTF-8, no field twice, no NaN, at most 64 levels and 1 MiB), times RFC 3339 in UTC. Ids say what they "
    "are: `org_…`, `cam_…`. Fields and words of enumerations that you do not know may come: ignore them."
)


def content() -> bytes:
    """The document as it is committed."""
    return orjson.dumps(document(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def document() -> Document:
    faces = _faces()
    paths: Document = {}
    schemas = _Schemas()
    for path, method, operation in _operations(faces["gateway"]):
        operation = schemas.taken(operation, faces["gateway"], "gateway")
        paths.setdefault(path, {})[method] = _public(operation, method, path)
    for forward in FORWARDS:
        face = faces[forward.owner]
        operation = schemas.taken(_inner(face, forward), face, forward.owner)
        operation["parameters"] = [*_renamed(operation.get("parameters", []), forward.path), *_companies(forward)]
        paths.setdefault(forward.path, {})[forward.method.lower()] = _public(
            operation, forward.method.lower(), forward.path, _OF_FORWARDS
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Outrider", "version": "1.0.0", "description": _DESCRIPTION},
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted((schemas.found | {"Problem": problems.SCHEMA}).items())),
            "responses": {str(status): _refusal(status) for status in (*_REFUSALS, *_OF_WRITES, *_OF_FORWARDS)},
            "parameters": {"Org": _ORG, "CompanyId": _COMPANY_ID, "AllCompanies": _ALL_COMPANIES},
            "headers": {"RequestId": _REQUEST_ID_HEADER, "RetryAfter": _RETRY_AFTER_HEADER},
            "securitySchemes": {
                _SECURITY: {"type": "http", "scheme": "bearer", "description": "An API key, or your sign-in's token."}
            },
        },
    }


_ORG: Document = {
    "name": "Outrider-Org",
    "in": "header",
    "required": False,
    "description": (
        "The organization acted in. Platform staff and people in several organizations name one; staff see what belongs to "
        "it once they have assumed it (POST /v1/assumptions), and answers then bear Outrider-Assumed."
    ),
    "schema": {"type": "string", "pattern": "^org_[0-9a-f]{32}$"},
}
_COMPANY_ID: Document = {
    "name": "company_id",
    "in": "query",
    "required": False,
    "description": "About this company only. Not with all_companies=true.",
    "schema": {"type": "string", "pattern": "^cmp_[0-9a-f]{32}$"},
}
_ALL_COMPANIES: Document = {
    "name": "all_companies",
    "in": "query",
    "required": False,
    "description": "true: about all companies of the organization; for org_admin and platform staff.",
    "schema": {"type": "boolean"},
}
_REQUEST_ID_HEADER = {
    "description": "Finds the request in our logs.",
    "required": True,
    "schema": {"type": "string", "pattern": "^req_[0-9a-f]{32}$"},
}
_RETRY_AFTER_HEADER = {
    "description": "In so many seconds.",
    "required": True,
    "schema": {"type": "integer", "minimum": 1},
}


def _faces() -> dict[str, Document]:
    """What each service's FastAPI app says of itself, by process. Nothing is connected to."""
    private, secret = new_private_key(), SecretStr("00" * 32)
    parts = (
        Part("gateway", GatewaySettings(key_pepper=secret, context_private_key=SecretStr(private)), build_gateway),
        Part("provider_sync", ProviderSyncSettings(credential_key=secret, cursor_key=secret), build_provider_sync),
        Part("reconciliation", ReconciliationSettings(), build_reconciliation),
        Part("analytics", AnalyticsSettings(), build_analytics),
        Part("webhook_ingest", WebhookIngestSettings(), build_webhook_ingest),
    )
    found = {}
    for part in parts:
        process = process_name(part.name)
        url = DatabaseUrl("postgresql://nobody:nothing@127.0.0.1:1/nowhere", part.name)
        database = Database(url, service=part.name, dispatch_role="none")
        platform = Platform(
            database, Units(database, process), ContextVerifier([public_key_of(private)], process), owners={}
        )
        found[process] = part.build(platform, part.settings).described.openapi()
    return found


def _operations(face: Document) -> Iterator[tuple[str, str, Document]]:
    for path, methods in face["paths"].items():
        for method, operation in methods.items():
            if method in _METHODS:
                yield path, method, operation


def _inner(face: Document, forward: Forward) -> Document:
    """The owner's operation behind a forward."""
    wanted = _shape(forward.path.removeprefix(PREFIX)), forward.method.lower()
    for path, method, found in _operations(face):
        if (_shape(path), method) == wanted:
            return found
    raise LookupError(f"{forward.owner} has no {forward.method} {forward.path.removeprefix(PREFIX)}")


def _shape(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


def _renamed(parameters: Iterable[Document], path: str) -> Iterator[Document]:
    """The owner's parameters; those in the path under the names that they have outside."""
    outer = iter(re.findall(r"\{(\w+)\}", path))
    for one in parameters:
        yield one | {"name": next(outer)} if one["in"] == "path" else one


def _companies(forward: Forward) -> list[Document]:
    if forward.company_filter:
        asked = " Who sees all companies gives this or the other: nobody mixes companies by accident."
        return [one | {"description": one["description"] + asked} for one in (_COMPANY_ID, _ALL_COMPANIES)]
    return [{"$ref": "#/components/parameters/CompanyId"}, {"$ref": "#/components/parameters/AllCompanies"}]


def _public(operation: Document, method: str, path: str, more_refusals: tuple[int, ...] = ()) -> Document:
    """The operation as the world sees it; `operation` is used up."""
    operation.pop("summary", None)  # made from a function's name
    outside = not path.startswith(PREFIX)
    refusals = _OF_HEALTH if outside else (*_REFUSALS, *more_refusals, *(_OF_WRITES if method in _WRITES else ()))
    answers = {status: answer for status, answer in operation["responses"].items() if status.startswith("2")}
    for answer in answers.values():
        answer["description"] = HTTPStatus(int(next(iter(answers)))).phrase
        answer["headers"] = answer.get("headers", {}) | _REQUEST_ID
    parameters = [_judged(one) for one in operation.get("parameters", ())]
    found: Document = {
        "operationId": _operation_id(method, path),
        "tags": [path.split("/")[1 if outside else 2]],
        **{name: operation[name] for name in ("description", "requestBody") if name in operation},
        "responses": answers
        | {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(refusals)},
        "security": [] if outside else [{_SECURITY: []}],
    }
    if not outside:
        found["parameters"] = [*parameters, {"$ref": "#/components/parameters/Org"}]
    return found


def _judged(parameter: Document) -> Document:
    """Ids in paths are what the gateway's table takes for one; a parameter of a query has no null."""
    schema = parameter.get("schema", {})
    if parameter.get("in") == "path":
        taken = {} if "pattern" in schema else {"pattern": f"^{segment(parameter['name'])}$"}
        return parameter | {"schema": schema | taken}
    if "anyOf" in schema:
        kinds = [kind for kind in schema["anyOf"] if kind != {"type": "null"}]
        rest = {name: value for name, value in schema.items() if name != "anyOf"}
        return parameter | {"schema": rest | (kinds[0] if len(kinds) == 1 else {"anyOf": kinds})}
    return parameter


def _operation_id(method: str, path: str) -> str:
    """From the address alone, which is promised: `get_leads_by_id`. Renaming a function changes no client."""
    words = [f"by_{part[1:-1]}" if part.startswith("{") else part for part in path.removeprefix(PREFIX).split("/")[1:]]
    return "_".join([method, *words]).replace("-", "_")


def _refusal(status: int) -> Document:
    return {
        "description": HTTPStatus(status).phrase,
        "headers": _REQUEST_ID | _MORE_HEADERS.get(status, {}),
        "content": {problems.CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


class _Schemas:
    """The schemas that operations refer to, of all services. Where two services mean different things by one name, the later
    one's has the service's name in front."""

    def __init__(self) -> None:
        self.found: Document = {}

    def taken(self, operation: Document, face: Document, process: str) -> Document:
        """A copy of the operation whose references lead into `found`."""
        known: Mapping[str, Any] = face.get("components", {}).get("schemas", {})
        names: dict[str, str] = {}
        operation = copy.deepcopy(operation)
        operation["responses"].pop("422", None)  # FastAPI's shape of it, not ours
        return cast(Document, untitled(self._led(operation, known, names, process)))

    def _led(self, value: Any, known: Mapping[str, Any], names: dict[str, str], process: str) -> Any:
        if isinstance(value, list):
            return [self._led(item, known, names, process) for item in value]
        if not isinstance(value, dict):
            return value
        target = value.get("$ref")
        if isinstance(target, str):
            name = target.removeprefix("#/components/schemas/")
            return value | {"$ref": f"#/components/schemas/{self._keep(name, known, names, process)}"}
        return {key: self._led(item, known, names, process) for key, item in value.items()}

    def _keep(self, name: str, known: Mapping[str, Any], names: dict[str, str], process: str) -> str:
        if name in names:
            return names[name]
        plain = name.strip("_")
        names[name] = plain  # before its parts: a schema may refer to itself
        schema = untitled(self._led(known[name], known, names, process))
        if self.found.get(plain, schema) != schema:
            names[name] = plain = "".join(word.capitalize() for word in process.split("-")) + plain
        self.found[plain] = schema
        return plain
