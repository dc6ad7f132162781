"""Errors, named for what should be done about them.

PlatformError
├── TransientError      later may work    -> retried from the inbox, then a dead letter
│   ├── RateLimited          wait `retry_after_seconds` first
│   ├── ProviderUnavailable  the provider did not answer, or answered with garbage
│   ├── NotSent              a call of ours that we did not make, by a rule of ours
│   └── DependencyDown       a database or broker of ours is away: pause, burn no attempt
├── PermanentError      never will        -> dead letter now
│   ├── ContractViolated     bytes that are not what their sender promised
│   ├── UnknownVersion       an event version this build cannot read: parked until one can
│   ├── TenantMismatch       an event speaks of another tenant's object
│   └── ProviderRefused      the provider understood and said no
│       └── CredentialRefused    it no longer takes the account's key: call no more until there is a new one
└── RequestError        the caller's mistake -> a 4xx problem document
    ├── Invalid, Unauthenticated, Forbidden, NotFound, Conflict, Unsupported
    └── TooLarge, TooSlow, HeadersTooLarge, UnsupportedMedia
Anything else is our bug: logged with its trace, few retries, then a dead letter or a 500.

Errors carry data, not HTTP codes: the edges translate them, each in one table.
"""

from __future__ import annotations


class PlatformError(Exception):
    """Root of every error that we raise on purpose.

    `code` is the stable word machines switch on; the message is for people and names the next step.
    """

    code = "platform_error"


class TransientError(PlatformError):
    code = "transient"

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class RateLimited(TransientError):
    code = "rate_limited"


class ProviderUnavailable(TransientError):
    code = "provider_unavailable"


class NotSent(TransientError):
    """A call that was not made: the account's budget does not allow it now. Nobody is to be charged for it."""

    code = "not_sent"


class DependencyDown(TransientError):
    code = "dependency_down"


class PermanentError(PlatformError):
    code = "permanent"


class ContractViolated(PermanentError):
    code = "contract_violated"


class UnknownVersion(PermanentError):
    code = "unknown_version"


class TenantMismatch(PermanentError):
    code = "tenant_mismatch"


class ProviderRefused(PermanentError):
    code = "provider_refused"


class CredentialRefused(ProviderRefused):
    """Every call of the account will be refused so, and each one more may get it locked."""

    code = "credential_refused"


class RequestError(PlatformError):
    """The caller can mend it. `pointer` is the JSON Pointer or parameter name at fault, when there is one."""

    code = "invalid_request"

    def __init__(self, message: str, *, code: str | None = None, pointer: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        self.pointer = pointer


class Invalid(RequestError):
    code = "invalid_request"


class Unauthenticated(RequestError):
    code = "unauthenticated"


class Forbidden(RequestError):
    code = "forbidden"


class NotFound(RequestError):
    code = "not_found"


class Conflict(RequestError):
    code = "conflict"


class TooLarge(RequestError):
    code = "too_large"


class TooSlow(RequestError):
    code = "too_slow"


class HeadersTooLarge(RequestError):
    code = "headers_too_large"


class UnsupportedMedia(RequestError):
    code = "unsupported_media_type"


class Unsupported(RequestError):
    """The account's provider cannot do this; the message names the capability."""

    code = "capability_unsupported"
