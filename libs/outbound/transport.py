"""Connections to addresses that others name: resolved once, judged, and made to exactly what was judged.

The check sits where the socket is opened, so it holds for every connection, whatever asked for it, and a name that
answers otherwise a moment later (DNS rebinding) is never asked again. TLS still speaks to the name: it is what stands in
SNI, in the Host header, and what the certificate must be for.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpcore
import httpx

from libs.outbound.addresses import check_request, check_resolved

# A host and a port -> its addresses, as text. Raises OSError.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

_TRIED = 4  # addresses of one host; who lists more has them for balance, not for need
_CONNECT_SECONDS = 30.0
_RESOLVING_AT_ONCE = 32


class Resolver:
    """This machine's, in threads of its own: a name whose servers hang holds one until the system gives up, and must not
    take those that everything else in the process waits for."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_RESOLVING_AT_ONCE, thread_name_prefix="resolve")

    async def __call__(self, host: str, port: int) -> list[str]:
        ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        return list(dict.fromkeys(str(address[0]) for *_, address in found))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class GuardedTransport(httpx.AsyncHTTPTransport):
    """httpx's own transport, on sockets that only go to public addresses; give it to a client with `trust_env=False`.

    Redirects are none of a transport's business, but one that a client followed would be judged like any request.
    What the environment says of proxies and certificates is not asked.

    Raises on use:
        AddressRefused: nothing was connected to.
    """

    def __init__(
        self,
        *,
        allow_loopback: bool = False,
        limits: httpx.Limits,
        resolve: Resolve | None = None,
        verify: ssl.SSLContext | None = None,
        network: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        """`network` opens the sockets, `resolve` finds addresses; tests give their own."""
        self._resolver = Resolver()
        context = verify or httpx.create_ssl_context(trust_env=False)
        super().__init__(verify=context, trust_env=False, limits=limits)
        # The pool that httpx made has not connected yet; only its own sockets differ. httpx offers no parameter for them.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=_Guard(network or httpcore.AnyIOBackend(), resolve or self._resolver, allow_loopback),
        )
        self._allow_loopback = allow_loopback

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        check_request(url.scheme, url.raw_host.decode("ascii"), url.port, allow_loopback=self._allow_loopback)
        return await super().handle_async_request(request)

    async def aclose(self) -> None:
        await super().aclose()
        self._resolver.close()


class _Guard(httpcore.AsyncNetworkBackend):
    def __init__(self, network: httpcore.AsyncNetworkBackend, resolve: Resolve, allow_loopback: bool) -> None:
        self._network = network
        self._resolve = resolve
        self._allow_loopback = allow_loopback

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        ends_at = time.monotonic() + (_CONNECT_SECONDS if timeout is None else timeout)
        try:
            async with asyncio.timeout(ends_at - time.monotonic()):
                addresses = await self._resolve(host, port)
        except TimeoutError:
            raise httpcore.ConnectTimeout("the host's name was not resolved in time") from None
        except (OSError, UnicodeError):
            raise httpcore.ConnectError("the host's name does not resolve") from None
        check_resolved(addresses, port, allow_loopback=self._allow_loopback)
        failed: Exception = httpcore.ConnectError("nothing to connect to")
        for address in addresses[:_TRIED]:
            left = max(0.0, ends_at - time.monotonic())
            try:
                return await self._network.connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise httpcore.UnsupportedProtocol("sockets of this machine are not called")

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)
