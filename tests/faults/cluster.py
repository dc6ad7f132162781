"""Three nodes of RabbitMQ as one cluster, on this machine: one port mapper, one cookie, the later ones join the first."""

from __future__ import annotations

import secrets
import subprocess
from pathlib import Path
from typing import Self

from libs.child_process import end, free_port
from libs.messaging.embedded import RabbitNode, start_mapper

_NAMES = ("r1", "r2", "r3")
_AGENT = ("rabbitmq_management_agent",)  # the first answers for all


class Cluster:
    def __init__(self, root: Path, *, advanced: str) -> None:
        self._root = root
        self._mapper: subprocess.Popen[bytes] | None = None
        mapper_port = free_port()
        self._mapper_port = mapper_port
        joins = (
            "cluster_formation.peer_discovery_backend = rabbit_peer_discovery_classic_config",
            f"cluster_formation.classic_config.nodes.1 = {_NAMES[0]}@localhost",
        )
        self.nodes = {
            f"{name}@localhost": RabbitNode(
                root / name,
                name=name,
                plugins=_AGENT if number else ("rabbitmq_management",),
                settings=joins if number else (),
                advanced=advanced,
                mapper_port=mapper_port,
            )
            for number, name in enumerate(_NAMES)
        }

    @property
    def first(self) -> RabbitNode:
        return next(iter(self.nodes.values()))

    def start(self) -> Self:
        """About seven seconds for each node."""
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / "mapper.log").open("wb") as log:
            self._mapper = start_mapper(self._mapper_port, log)
        shared = {"password": (secrets.token_hex(16), 0o600), ".erlang.cookie": (secrets.token_hex(16), 0o400)}
        for node in self.nodes.values():
            node.root.mkdir(exist_ok=True)
            for name, (text, mode) in shared.items():
                (node.root / name).write_text(text)
                (node.root / name).chmod(mode)
            node.start()
        return self

    def kill(self) -> None:
        for node in self.nodes.values():
            node.kill()
        if self._mapper is not None:
            end(self._mapper)
            self._mapper = None
