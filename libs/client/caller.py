"""How the client asks: one key's requests, pages walked to their end, refusals as errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx

Json = dict[str, Any]

_TIMEOUT_SECONDS = 30.0  # longer than the gateway waits for anyone
_PAGE = 100


class ApiProblem(Exception):
    """The API said no. `code` is the word to switch on; `request_id` is what support asks for."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        request_id: str | None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {detail} ({request_id or 'no request id'})")
        self.status = status
        self.code = code
        self.detail = detail
        self.request_id = request_id
        self.retry_after_seconds = retry_after_seconds

    @property
    def retryable(self) -> bool:
        """The same request may well succeed later."""
        return self.status in (429, 503)


class Caller:
    """See OutriderClient, whose methods are made of these."""

    def __init__(self, base_url: str, key: str, org: str | None = None, http: httpx.AsyncClient | None = None) -> None:
        self._base_url = base_url.rstrip("/")
        self._http = http or httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=False)
        self._owns_http = http is None
        self._headers = {"Authorization": f"Bearer {key}"}
        if org is not None:
            self._headers["Outrider-Org"] = org

    async def close(self) -> None:
        if self._owns_http:
            await self._http.aclose()

    async def _walk(self, path: str, query: Mapping[str, Any] | None = None) -> AsyncIterator[Json]:
        query = {"limit": _PAGE, **(query or {})}
        while True:
            page = await self._get(path, query)
            for item in page["data"]:
                yield item
            if not page["has_more"]:
                return
            query["after"] = page["next_cursor"]

    async def _get(self, path: str, query: Mapping[str, Any] | None = None) -> Json:
        return await self._send("GET", path, params=_text(query or {}))

    async def _post(self, path: str, body: Json) -> Json:
        return await self._send("POST", path, json=body)

    async def _send(self, method: str, path: str, **more: Any) -> Json:
        response = await self._http.request(
            method,
            f"{self._base_url}/v1{path}",
            headers=self._headers | more.pop("headers", {}),
            follow_redirects=False,
            **more,
        )
        if not response.is_success:
            raise _problem(response)
        return dict(response.json()) if response.content else {}


def _text(query: Mapping[str, Any]) -> dict[str, str]:
    """Without what is None; truth in the API's spelling. `from_` is the parameter `from`, a word that Python keeps."""
    return {
        name.rstrip("_"): str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in query.items()
        if value is not None
    }


def _problem(response: httpx.Response) -> ApiProblem:
    try:
        document = response.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        document = {}
    return ApiProblem(
        response.status_code,
        str(document.get("code", "http_error")),
        str(document.get("detail", response.reason_phrase)),
        document.get("request_id") or response.headers.get("x-request-id"),
        float(after) if (after := response.headers.get("retry-after", "")).isdecimal() else None,
    )
