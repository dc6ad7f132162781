"""A connection goes where it was judged to go, once, and a server that must not be reached is not."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpcore
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from libs.errors import ProviderUnavailable
from libs.outbound.addresses import AddressRefused
from libs.outbound.transport import GuardedTransport
from libs.providers.calls import CallPolicy, call
from tests.unit.libs.outbound.test_addresses import REFUSED

PUBLIC, OTHER_PUBLIC = "93.184.215.14", "2606:2800:21f:cb07::1"
NAME = "send.example.com"


class Names:
    """A resolver that answers a name with one list after the other, the last one for ever."""

    def __init__(self, *answers: Sequence[str] | OSError) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer


class Network(httpcore.AnyIOBackend):
    """Notes where connections were to go, and takes them all to one server of this test; some addresses are dead."""

    def __init__(self, port: int, *dead: str) -> None:
        self.port = port
        self.dead = dead
        self.connected: list[tuple[str, int]] = []

    async def connect_tcp(self, host: str, port: int, *arguments: Any, **more: Any) -> httpcore.AsyncNetworkStream:
        self.connected.append((host, port))
        if host in self.dead:
            raise httpcore.ConnectError("dead")
        return await super().connect_tcp("127.0.0.1", self.port, *arguments, **more)


class Server:
    """Speaks HTTP/1.1, one answer per connection, and notes what it was asked and by which name."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        self.asked: list[str] = []
        self.names: list[str | None] = []
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(self.answer)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def serving(context: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server()
    if context is not None:
        context.sni_callback = lambda _, name, __: server.names.append(name)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context)
    server.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield server


def certificate(folder: Path, name: str) -> Path:
    """A certificate for `name`, signed by itself, with its key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture
async def provider(tmp_path):
    """A server with a certificate for NAME, and what trusts it."""
    path = certificate(tmp_path, NAME)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    async with serving(context) as server:
        yield server, ssl.create_default_context(cafile=str(path))


@asynccontextmanager
async def client(transport: GuardedTransport, **more: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=transport, trust_env=False, **more) as made:
        yield made


def guarded(**more: Any) -> GuardedTransport:
    return GuardedTransport(limits=httpx.Limits(max_connections=5), **more)


async def test_it_connects_to_the_address_that_was_judged_and_speaks_to_the_name(provider):
    server, trust = provider
    names, network = Names([PUBLIC]), Network(server.port)
    async with client(guarded(resolve=names, network=network, verify=trust)) as http:
        answer = await http.get(f"https://{NAME}/api")

    assert answer.status_code == 200
    assert names.asked == [(NAME, 443)]
    assert network.connected == [(PUBLIC, 443)]
    assert server.names == [NAME]
    assert f"Host: {NAME}\r\n" in server.asked[0]


async def test_the_certificate_must_be_for_the_name(provider):
    server, trust = provider
    network = Network(server.port)
    async with client(guarded(resolve=Names([PUBLIC]), network=network, verify=trust)) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get("https://other.example.com/api")

    assert server.asked == []


async def test_a_name_that_answers_otherwise_the_second_time_is_refused_then(provider):
    server, trust = provider
    names, network = Names([PUBLIC], ["127.0.0.1"]), Network(server.port)
    async with client(guarded(resolve=names, network=network, verify=trust)) as http:
        await http.get(f"https://{NAME}/")  # asked once: what was judged is what was connected to
        with pytest.raises(AddressRefused):
            await http.get(f"https://{NAME}/")

    assert len(names.asked) == 2
    assert network.connected == [(PUBLIC, 443)]
    assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        ["127.0.0.1"],
        [PUBLIC, "127.0.0.1"],
        ["10.0.0.1", PUBLIC],
        [OTHER_PUBLIC, "fd00::1"],
        ["::ffff:127.0.0.1"],
        ["169.254.169.254"],
        [],
    ],
)
async def test_one_answer_that_is_not_public_is_enough(provider, answer):
    server, trust = provider
    network = Network(server.port)
    async with client(guarded(resolve=Names(answer), network=network, verify=trust)) as http:
        with pytest.raises(AddressRefused) as refused:
            await http.get(f"https://{NAME}/")

    assert network.connected == []
    assert server.connections == 0
    assert not any(one in str(refused.value) for one in answer)


@pytest.mark.parametrize("url", [f"http://{NAME}:443/", f"http://{NAME}/", f"https://{NAME}:22/", f"ws://{NAME}:443/"])
async def test_a_public_host_is_called_over_https_and_on_its_ports_only(provider, url):
    server, trust = provider
    names, network = Names([PUBLIC]), Network(server.port)
    async with client(guarded(resolve=names, network=network, verify=trust)) as http:
        with pytest.raises((AddressRefused, httpx.UnsupportedProtocol)):
            await http.get(url)

    assert names.asked == []
    assert network.connected == []


async def test_of_several_addresses_one_that_answers_will_do(provider):
    server, trust = provider
    network = Network(server.port, PUBLIC)
    async with client(guarded(resolve=Names([PUBLIC, OTHER_PUBLIC]), network=network, verify=trust)) as http:
        assert (await http.get(f"https://{NAME}/")).status_code == 200

    assert network.connected == [(PUBLIC, 443), (OTHER_PUBLIC, 443)]


@pytest.mark.parametrize("follow", [False, True])
async def test_a_redirect_to_the_inside_leads_nowhere(provider, follow):
    server, trust = provider
    server.answer = (
        b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest/meta-data\r\n"
        b"Content-Length: 0\r\nConnection: close\r\n\r\n"
    )
    network = Network(server.port)
    async with client(guarded(resolve=Names([PUBLIC]), network=network, verify=trust), follow_redirects=follow) as http:
        if follow:
            with pytest.raises(AddressRefused):
                await http.get(f"https://{NAME}/")
        else:
            assert (await http.get(f"https://{NAME}/")).status_code == 302

    assert network.connected == [(PUBLIC, 443)]


async def test_a_call_says_nothing_of_where_a_redirect_pointed(provider):
    server, trust = provider
    server.answer = (
        b'HTTP/1.1 302 Found\r\nLocation: http://10.1.2.3/\r\nContent-Length: 10\r\nConnection: close\r\n\r\n"10.1.2.3"'
    )
    network = Network(server.port)
    async with client(guarded(resolve=Names([PUBLIC]), network=network, verify=trust)) as http:
        with pytest.raises(ProviderUnavailable) as failed:
            await call(
                http, "GET", f"https://{NAME}/", idempotent=False, explain=lambda body: str(body), policy=CallPolicy()
            )

    assert network.connected == [(PUBLIC, 443)]
    assert "10.1.2.3" not in str(failed.value)


@pytest.mark.parametrize("answer", [OSError("no such name"), [PUBLIC]])
async def test_a_name_that_does_not_resolve_or_answer_now_may_later(answer):
    network = Network(1, PUBLIC)
    async with client(guarded(resolve=Names(answer), network=network)) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(f"https://{NAME}/")


async def test_a_resolver_that_hangs_is_not_waited_for():
    async def hangs(_: str, __: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    async with client(guarded(resolve=hangs)) as http:
        with pytest.raises(httpx.ConnectTimeout):
            await http.get(f"https://{NAME}/", timeout=0.01)


async def test_nothing_here_is_reached_by_any_spelling():
    """With this machine's own resolver and sockets; a server listens where they would arrive."""
    async with serving() as sentinel, client(guarded()) as http:
        own = [
            f"{scheme}://{host}:{sentinel.port}" for scheme in ("http", "https") for host in ("127.0.0.1", "localhost")
        ]
        for url in (*REFUSED, *own):
            with pytest.raises((AddressRefused, httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.ConnectError)):
                await http.get(url, timeout=5)
        for host in ("127.0.0.1", "127.1", "2130706433", "0x7f.1", "0", "localhost", "::1", "::ffff:127.0.0.1"):
            with pytest.raises(AddressRefused):  # past the looks: as if a name had brought us here
                await http._transport._pool._network_backend.connect_tcp(host, sentinel.port)  # type: ignore[attr-defined]

    assert sentinel.connections == 0


async def test_simulators_on_this_machine_are_reached_where_that_is_allowed():
    async with serving() as simulator, client(guarded(allow_loopback=True)) as http:
        assert (await http.get(f"http://127.0.0.1:{simulator.port}/")).status_code == 200
        assert (await http.get(f"http://localhost:{simulator.port}/")).status_code == 200

    assert simulator.connections == 2


async def test_what_the_environment_says_of_proxies_is_not_asked(monkeypatch, provider):
    server, trust = provider
    async with serving() as proxy:
        for name in ("HTTPS_PROXY", "ALL_PROXY", "HTTP_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with client(guarded(resolve=Names([PUBLIC]), network=Network(server.port), verify=trust)) as http:
            assert (await http.get(f"https://{NAME}/")).status_code == 200

    assert proxy.connections == 0
