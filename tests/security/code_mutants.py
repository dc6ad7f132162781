# ruff: noqa: E501 - a mutant is a line, and its line
"""Mutants of the code that decides who may do what: a line is replaced by one that asks less.

Only the code objects of functions are exchanged, so whoever imported them before sees the change, and it can be undone.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from libs.database import engine
from libs.messaging import processor
from libs.tenancy import context, roles, signing
from libs.tenancy.roles import PERMISSIONS, Role
from libs.web import exports, sources, tenant
from services.gateway import domain, forwarding, front, gate, guard, sign_in
from services.gateway.handlers import keys as handed_out
from services.provider_sync import jobs, taking
from services.provider_sync.handlers import operations, rotations
from services.reconciliation.handlers import accounts as comparing
from services.reconciliation.handlers import requests
from services.webhook_ingest import domain as door
from services.webhook_ingest import front as door_front
from services.webhook_ingest import handlers as door_handlers
from tests.security.test_routes import EVERYTHING, opened

_NOT_COMPANIES = "type({0})(None)"


class StaleMutant(Exception):
    """The line that a mutant replaces is not there (once); the list must follow the code."""


@dataclass(frozen=True)
class CodeMutant:
    """`where` names the detectors that are to find it (detectors.py). `old` occurs once in `module`."""

    kind: str
    name: str
    where: str
    module: str = ""
    old: str = ""
    new: str = ""
    data: tuple[str, str] = ("", "")  # for what is no function: (which, what)

    @contextmanager
    def applied(self) -> Iterator[None]:
        if self.data[0]:
            with _data(*self.data):
                yield
        else:
            with rewritten(importlib.import_module(self.module), self.old, self.new):
                yield


async def code_mutants() -> list[CodeMutant]:
    return [
        *await _of_routes(), *_of_forwards(), *_of_checks(), *_of_scopes(), *_of_roles(), *_of_transactions(), *_of_the_door(),
        *_of_operations(), *_of_exports(), *_of_rotations(), *_of_standing(),
    ]  # fmt: skip


def _line(kind: str, where: str, module: ModuleType, name: str, old: str, new: str) -> CodeMutant:
    return CodeMutant(kind, name, where, module.__name__, old, new)


async def _of_routes() -> list[CodeMutant]:
    """For every route of an owner and of the gateway: its permission is not asked for."""
    mutants = []
    for forward in forwarding.FORWARDS:
        path = forward.path.removeprefix(forwarding.PREFIX)
        mutants.append(
            _line(
                "route", "routes", tenant, f"{forward.owner} {forward.method} {path}: no permission asked",
                "if not context.may(permission):",
                f"if not context.may(permission) and not {_is(forward.method, path)}:",
            )
        )  # fmt: skip
    async with opened("gateway") as made:
        own = sorted(made.routes)
    for route in own:
        method, path = route.split(" ")
        mutants.append(
            _line(
                "route", "routes", guard, f"gateway {route}: no permission asked",
                "if permission is not None:", f"if permission is not None and not {_is(method, path)}:",
            )
        )  # fmt: skip
    return mutants


def _is(method: str, path: str) -> str:
    pattern = method + " " + re.sub(r"\{\w+\}", "[^/]+", path)
    return f'__import__("re").fullmatch({pattern!r}, f"{{request.method}} {{request.url.path}}")'


def _of_forwards() -> list[CodeMutant]:
    mutants = []
    for forward in forwarding.FORWARDS:
        route = f"{forward.method} {forward.path}"
        new = f"if (forward.method, forward.path) != {(forward.method, forward.path)!r}: caller.require(forward.permission)"
        mutants.append(
            _line(
                "forward", "routes", front, f"{route}: no permission asked", "caller.require(forward.permission)", new
            )
        )
        weaker = "organizations:read"
        mutants.append(
            CodeMutant(
                "forward", f"{route}: {weaker} will do", "routes", data=("forward", f"{route}|permission|{weaker}")
            )
        )
        if forward.company_filter:
            mutants.append(
                CodeMutant("forward", f"{route}: mixes companies", "gate", data=("forward", f"{route}|company_filter|"))
            )
    return mutants


def _of_checks() -> list[CodeMutant]:
    """The gateway's and the owners' checks as such."""
    return [
        _line("check", "routes", tenant, "owners: no permission asked", "if not context.may(permission):", "if False:"),
        _line("check", "routes", context, "a context may everything", "return permission in self.permissions", "return True"),
        _line("check", "routes", domain, "a caller may everything", "if permission in self.permissions or (", "if True or ("),
        _line("check", "routes", guard, "own routes: no permission asked", "found.require(permission, outside=outside)", "pass"),
        _line("check", "routes", front, "forwards: no permission asked", "caller.require(forward.permission)", "pass"),
        _line("check", "routes", front, "owners are told of every permission", "companies, caller.permissions)",
              f"companies, frozenset({sorted(EVERYTHING)!r}))"),
        _line("check", "gate", gate, "any secret will do", "return hmac.compare_digest(", "return True or hmac.compare_digest("),
        _line("check", "gate", gate, "a revoked key opens", "if known.revoked:", "if False:"),
        _line("check", "gate", gate, "an expired key opens", "known.principal.expires_at <= now()", "False"),
        _line("check", "gate", gate, "a suspended org is let in", "if known.suspended:", "if False:"),
        _line("check", "gate", gate, "any org may be named", "if org_id != principal.home:", "if False:"),
        _line("check", "gate", gate, "an org that is not may be named", "if not await Organizations(session).exists():", "if False:"),
        _line("check", "gate", gate, "a company that is not may be named", "if not await Companies(session).all_exist([company]):", "if False:"),
        _line("check", "staff", domain, "staff need not assume an org", "if self.assumption is None:\n            return all_of_them & UNASSUMED",
              "if self.assumption is None:\n            return all_of_them"),
        _line("check", "staff", domain, "who assumed an org to read may write", "if self.assumption.may_write:", "if True:"),
        _line("check", "staff", domain, "what is given away outlives an assumption", "self.assumption.ends_at if self.assumption else None", "None"),
        _line("check", "staff", gate, "an assumption never ends", "found.ends_at > now()", "True"),
        _line("check", "staff", gate, "an assumption is for every org", "self.assumptions.get((principal.id, org_id))",
              "next((kept for _, kept in self.assumptions._kept.values()), None)"),
        _line("check", "staff", handed_out, "staff make any key from outside", "if caller.is_outside and (", "if False and ("),
        _line("check", "staff", domain, "scopes are not kept", "return of_role if self.scopes is None else of_role & self.scopes", "return of_role"),
        _line("check", "staff", domain, "scopes may be given that one has not", "        given = scopes\n", "        given = frozenset()\n"),
        _line("check", "people", gate, "a suspended person is let in", "if not member.active:", "if False:"),
        _line("check", "people", gate, "a person of a suspended org is let in", "if member.suspended:", "if False:"),
        _line("check", "people", gate, "a secret that was replaced opens for ever", "if ends_at is not None and ends_at <= now():", "if False:"),
        _line("check", "sign_in", sign_in, "a sign-in of any issuer", 'claims.get("iss") != self._issuer or not', "not"),
        _line("check", "sign_in", sign_in, "a sign-in for any audience", 'or not self._is_for_us(claims.get("aud")):', ":"),
        _line("check", "sign_in", sign_in, "a sign-in for others, too", "and all(isinstance(one, str)", "and any(isinstance(one, str)"),
        _line("check", "sign_in", sign_in, "a sign-in of any age", "if expires <= moment - LEEWAY_SECONDS:", "if False:"),
        _line("check", "sign_in", sign_in, "a sign-in of tomorrow", "if max(issued, not_before) > moment + LEEWAY_SECONDS:", "if False:"),
        _line("check", "sign_in", sign_in, "a sign-in without a signature", "jwt.api_jws.decode(token, key, algorithms=[str(algorithm)])", "pass"),
        _line("check", "signing", signing, "a context for any audience", '"strict_aud": True}', '"verify_aud": False}'),
        _line("check", "signing", signing, "a context of any issuer", '"strict_aud": True}', '"strict_aud": True, "verify_iss": False}'),
        _line("check", "signing", signing, "a context of any age", '"strict_aud": True}', '"strict_aud": True, "verify_exp": False}'),
        _line("check", "signing", signing, "a context without a signature", '"strict_aud": True}',
              '"strict_aud": True, "verify_signature": False}'),
        _line("check", "signing", signing, "a context once believed lives for ever", "kept = self._verified.get(token)\n        if kept is not None and kept[0] > now:",
              "kept = self._verified.get(token)\n        if kept is not None:"),
        _line("check", "domain", domain, "any role may be given", "if not given <= principal.permissions:", "if False:"),
        _line("check", "domain", domain, "staff keys for all", "if (role in PLATFORM_ROLES) != (caller.org_id is None):", "if False:"),
        _line("check", "gate", domain, "a key outlives its maker",
              "if caller.expires_at is not None and (expires_at is None or expires_at > caller.expires_at):", "if False:"),
    ]  # fmt: skip


def _of_scopes() -> list[CodeMutant]:
    """The company scope widened to all, at each place it passes."""
    return [
        _line("scope", "routes", tenant, "owners: all companies", "context.org_id, context.scope,",
              f"context.org_id, {_NOT_COMPANIES.format('context.scope')},"),
        _line("scope", "gate", guard, "own routes: all companies", "who.principal.scope)", f"{_NOT_COMPANIES.format('who.principal.scope')})"),
        _line("scope", "gate", front, "forwards: all companies", "org_id, companies, caller", f"org_id, {_NOT_COMPANIES.format('companies')}, caller"),
        _line("scope", "gate", front, "forwards: not the company that was named", "org_id, companies, caller", "org_id, caller.principal.scope, caller"),
        _line("scope", "gate", domain, "a company's role has all companies", "if self.role in COMPANY_ROLES else ALL_COMPANIES", "if False else ALL_COMPANIES"),
        _line("scope", "gate", domain, "all_companies for everybody", "if not sees_all:", "if False:"),
        _line("scope", "gate", domain, "any company for everybody", "if not principal.scope.covers(company):", "if False:"),
        _line("scope", "domain", domain, "a scheduler names companies", "if principal.role in MACHINE_ROLES and asked != NOTHING_ASKED:", "if False:"),
        _line("scope", "gate", domain, "companies are mixed by accident", "if company_filter and sees_all:", "if False:"),
        _line("scope", "domain", domain, "a key for companies that its maker does not have",
              "if not all(principal.scope.covers(company) for company in companies):", "if False:"),
        _line("scope", "signing", context, "a scope is told as all", 'return "*" if self.companies is None else', 'return "*" if True else'),
        _line("scope", "signing", context, "no company means all", 'if setting == "*":', 'if setting in ("*", ""):'),
        _line("scope", "domain", context, "a scope covers everything", "return self.companies is None or (", "return True or ("),
    ]  # fmt: skip


def _of_roles() -> list[CodeMutant]:
    mutants = []
    for role in Role:
        mutants += [
            CodeMutant("role", f"{role.value} may {more}, too", "roles", data=("grant", f"{role.value}|{more}"))
            for more in sorted(EVERYTHING - PERMISSIONS[role])
        ]
    for name in ("COMPANY_VIEWER", "COMPANY_MANAGER"):
        mutants.append(
            CodeMutant("role", f"{name} sees all companies", "roles", data=("SEES_ALL_COMPANIES", f"+{name}"))
        )
        mutants.append(CodeMutant("role", f"{name} is of no company", "roles", data=("COMPANY_ROLES", f"-{name}")))
    mutants.append(CodeMutant("role", "ORG_ADMIN is platform staff", "roles", data=("PLATFORM_ROLES", "+ORG_ADMIN")))
    return mutants


def _of_transactions() -> list[CodeMutant]:
    """What libs.database does so that a connection has the view of one tenant at a time."""
    return [
        _line("transaction", "rows", engine, "the org outlives its transaction", "SET LOCAL app.org_id = '{org}'", "SET app.org_id = '{org}'"),
        _line("transaction", "rows", engine, "the dispatch role outlives its transaction", "SET LOCAL ROLE \"{role", "SET ROLE \"{role"),
        _line("transaction", "rows", engine, "a tenant's view keeps the dispatch role", '"SET LOCAL ROLE NONE"', '"SELECT 1"'),
        _line("transaction", "rows", engine, "every scope is all companies", "app.company_ids = '{companies}'", "app.company_ids = '*'"),
        _line("transaction", "rows", engine, "a transaction is the dispatch role's", 'else "BEGIN"', "else f'BEGIN; SET LOCAL ROLE \"{self._dispatch_role}\"'"),
        _line("transaction", "rows", engine, "a tenant's view is made without an org", "SET LOCAL app.org_id = '{org}'", "SET LOCAL app.org_id = ''"),
    ]  # fmt: skip


def _of_the_door() -> list[CodeMutant]:
    """Whose token it is, whether it still counts, from where it may be shown, and what becomes of what is posted."""
    opens = "if found is None or not same_provider & endpoint.is_open or found.is_dead(moment):"
    return [
        _line("door", "door", door, "any token opens", "if hmac.compare_digest(token.sha256, token_sha256):", "if True:"),
        _line("door", "door", door, "a dead token opens", opens, "if found is None or not same_provider & endpoint.is_open:"),
        _line("door", "door", door, "a closed endpoint opens", opens, "if found is None or not same_provider or found.is_dead(moment):"),
        _line("door", "door", door, "a token opens another provider's address", opens, "if found is None or not endpoint.is_open or found.is_dead(moment):"),
        _line("door", "door", door, "a token never dies", "return self.dead_at is not None and self.dead_at <= moment", "return False"),
        _line("door", "door", door, "a token never ends", "return self.ends_at is not None and self.ends_at <= moment", "return False"),
        _line("door", "door", door, "what an ended token brings is told", "if token.is_late(moment):", "if False:"),
        _line("door", "door", door, "an allowlist that is enforced is not", "if endpoint.enforces_sources and source_listed is False:", "if False:"),
        _line("door", "door", door, "every source is listed", "return source is not None and within(source, self.allowed_sources)", "return True"),
        _line("door", "door", door, "an unknown source is listed", "return source is not None and within(source, self.allowed_sources)",
              "return source is None or within(source, self.allowed_sources)"),
        _line("door", "door", door, "credentials are kept with a delivery", "if _KEPT_HEADER.match(name)", "if True"),
        _line("door", "door", sources, "anybody says where a post comes from", "if address is None or not within(address, trusted_proxies):\n        return", "if address is None:\n        return"),
        _line("door", "door", door_front, "an objection is forgotten", "quarantine_reason=objection or reading", "quarantine_reason=reading"),
        _line("door", "door", door_front, "what is objected to claims its occurrence", "reading.dedupe_key if objection is None else None", "reading.dedupe_key"),
        _line("door", "door", door_front, "an erased org is answered as no other", "raise _not_found() from None", "raise"),
        _line("door", "door", door_handlers, "deliveries are shown to a company's people", "if not work.session.scope.is_all:", "if False:"),
        _line("door", "door", door_handlers, "an endpoint that is closed stays open", 'is_open=event.status == "open"', "is_open=True"),
        _line("door", "door", door_handlers, "sources are never enforced", 'enforces_sources=event.source_mode == "enforce"', "enforces_sources=False"),
    ]  # fmt: skip


def _of_operations() -> list[CodeMutant]:
    """Changes at providers: within the caller's companies, once per key and caller, and for nobody who is archived."""
    return [
        _line("operation", "operations", operations, "an operation of every company", "self._units.begin(context.org_id, context.scope,", "self._units.begin(context.org_id,"),
        _line("operation", "operations", operations, "an account that is not seen is used", "if account is None or not is_seen or account.channel != channel:",
              "if account is None or account.channel != channel:"),
        _line("operation", "operations", operations, "a campaign is made for any company", "if not scope.covers(company):", "if False:"),
        _line("operation", "operations", operations, "a key is good for another request", "if row is None or bytes(row[\"fingerprint\"]) != asked.fingerprint:", "if row is None:"),
        _line("operation", "operations", operations, "something is begun for an archived company", "if asked.kind not in ENDING and await", "if False and await"),
        _line("operation", "operations", operations, "what waits for an archived company stays", "if await operations.cancel(operation_id):\n            await", "if False:\n            await"),
        _line("operation", "operations", operations, "what was sent is taken back", "if not await operations.cancel(identifier):", "if False:"),
        _line("operation", "comparing", comparing, "an archived company is compared", "if await ArchivedCompanies(work.session).has(company_id):", "if False:"),
        _line("operation", "comparing", comparing, "a schedule of an archived company goes on", "await ScheduleRepository(work.session).switch_off(archived)", "pass"),
    ]  # fmt: skip


def _of_exports() -> list[CodeMutant]:
    return [
        _line("export", "exports", exports, "a company's people copy the organization", "if not work.session.scope.is_all:", "if False:"),
        _line("export", "exports", exports, "nobody is told of a copy", "await tell(f\"exports/{exports.owner}/{table}\")", "pass"),
    ]  # fmt: skip


def _of_rotations() -> list[CodeMutant]:
    return [
        _line("rotation", "rotations", rotations, "a leaked token lives on", "await tokens.end_all(endpoint.id, moment)", "pass"),
        _line("rotation", "rotations", rotations, "two rotations at once", "_check_overlap(endpoint, earlier)\n    if", "pass\n    if"),
        _line("rotation", "rotations", rotations, "tokens without end", "if len(earlier) >= rules.MOST_TOKENS:", "if False:"),
        _line("rotation", "rotations", rotations, "the door is not told", "await tell_door(endpoint.id, work)\n    work.audit(", "work.audit("),
    ]  # fmt: skip


def _of_standing() -> list[CodeMutant]:
    """A suspended org's webhooks wait, and nothing is asked of its providers."""
    return [
        _line("suspended", "standing", processor, "its webhooks do not wait", "self.consumer.waits_while_suspended and work.session.is_suspended", "False"),
        _line("suspended", "standing", jobs, "a job goes on asking", "work.session.is_suspended and job.kind is not JobKind.REGISTER_WEBHOOK and working is not None", "False"),
        _line("suspended", "standing", taking, "its jobs are taken", "if not work.session.is_suspended:", "if True:"),
        _line("suspended", "comparing", requests, "its accounts are compared", "if work.session.is_suspended:", "if False:"),
    ]  # fmt: skip


# How it is done


@contextmanager
def rewritten(module: ModuleType, old: str, new: str) -> Iterator[None]:
    """Every function of `module` runs as if its source said `new` where it says `old`."""
    assert module.__file__ is not None
    source = Path(module.__file__).read_text()
    if source.count(old) != 1:
        raise StaleMutant(f"{module.__name__} says {source.count(old)} times, not once: {old}")
    fresh = ModuleType(module.__name__)
    fresh.__dict__["__file__"] = module.__file__
    exec(compile(source.replace(old, new), module.__file__, "exec", dont_inherit=True), fresh.__dict__)
    changed = dict(_functions(fresh))
    before = {name: (function, function.__code__) for name, function in _functions(module)}
    swapped = {name for name, (_, code) in before.items() if name in changed and changed[name].__code__ != code}
    if not swapped:
        raise StaleMutant(f"{module.__name__}: no function changes with {old}")
    for name in swapped:
        before[name][0].__code__ = changed[name].__code__
    try:
        yield
    finally:
        for name in swapped:
            before[name][0].__code__ = before[name][1]


def _functions(module: ModuleType) -> Iterator[tuple[str, FunctionType]]:
    for name, value in vars(module).items():
        if getattr(value, "__module__", None) != module.__name__:
            continue
        parts = {"": value} if not inspect.isclass(value) else dict(vars(value))
        for part, inside in parts.items():
            inside = getattr(inside, "__func__", getattr(inside, "fget", inside))
            function = inspect.unwrap(inside) if callable(inside) else inside
            if isinstance(function, FunctionType) and function.__module__ == module.__name__:
                yield f"{name}.{part}", function


@contextmanager
def _data(which: str, what: str) -> Iterator[None]:
    if which == "nothing":
        yield
    elif which == "grant":
        name, permission = what.split("|")
        role = Role(name)
        before = PERMISSIONS[role]
        PERMISSIONS[role] = before | {permission}
        try:
            yield
        finally:
            PERMISSIONS[role] = before
    elif which == "forward":
        route, attribute, value = what.split("|")
        forward = next(one for one in forwarding.FORWARDS if f"{one.method} {one.path}" == route)
        old = getattr(forward, attribute)
        object.__setattr__(forward, attribute, value or False)
        try:
            yield
        finally:
            object.__setattr__(forward, attribute, old)
    else:
        kept = getattr(roles, which)
        role = Role[what[1:]]
        with _everywhere(kept, kept | {role} if what[0] == "+" else kept - {role}):
            yield


@contextmanager
def _everywhere(old: Any, new: Any) -> Iterator[None]:
    """A constant, under every name by which a module of ours has imported it."""
    places = [
        (module, name)
        for title, module in list(sys.modules.items())
        if title.split(".")[0] in ("libs", "services", "tests") and module is not None
        for name, value in list(vars(module).items())
        if value is old
    ]
    for module, name in places:
        setattr(module, name, new)
    try:
        yield
    finally:
        for module, name in places:
            setattr(module, name, old)
