"""docker-compose.yml and the Dockerfile, read without an engine: what a review would look for, each time."""

from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from libs.settings import PORTS
from libs.state import CHECKOUT

COMPOSE: dict[str, Any] = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
CONTAINERS: dict[str, Any] = COMPOSE["services"]
JOBS = {"migrate", "topology"}
OURS = {name: container for name, container in CONTAINERS.items() if "build" in container}
SERVICES = {name.replace("-", "_"): container for name, container in OURS.items() if name not in JOBS}


def test_every_service_has_a_container_with_its_own_command() -> None:
    assert set(SERVICES) == set(PORTS)
    for service, container in SERVICES.items():
        assert container["command"] == ["python", "-m", f"services.{service}"]


@pytest.mark.parametrize("name", sorted(CONTAINERS.keys() - JOBS))
def test_what_stays_up_says_whether_it_is_well(name: str) -> None:
    check = CONTAINERS[name]["healthcheck"]

    assert check["test"][0] == "CMD"
    assert {"interval", "timeout", "retries"} <= check.keys()


@pytest.mark.parametrize(("service", "port"), PORTS.items())
def test_a_service_is_asked_on_its_own_port(service: str, port: int) -> None:
    assert f"127.0.0.1:{port}/health/ready" in SERVICES[service]["healthcheck"]["test"][-1]
    assert SERVICES[service]["environment"][f"{service.upper()}_HOST"] == "0.0.0.0"


def test_nothing_starts_before_what_it_needs() -> None:
    for container in SERVICES.values():
        assert container["depends_on"] == {job: {"condition": "service_completed_successfully"} for job in JOBS}
    assert CONTAINERS["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert CONTAINERS["topology"]["depends_on"] == {"rabbitmq": {"condition": "service_healthy"}}
    assert CONTAINERS["migrate"]["command"] == ["outrider", "migrate"]
    assert CONTAINERS["topology"]["command"] == ["outrider", "topology"]


@pytest.mark.parametrize("name", CONTAINERS)
def test_images_are_pinned_to_a_release(name: str) -> None:
    image = CONTAINERS[name]["image"]

    assert name in OURS or re.search(r":\d+\.\d+(\.\d+)?(-[a-z]+)?$", image), image


@pytest.mark.parametrize("name", CONTAINERS)
def test_only_this_machine_can_dial_in(name: str) -> None:
    for port in CONTAINERS[name].get("ports", []):
        assert port.startswith("127.0.0.1:"), port


@pytest.mark.parametrize("name", OURS)
def test_our_processes_may_write_nowhere_and_gain_no_rights(name: str) -> None:
    container = OURS[name]

    assert container["read_only"] is True
    assert container["cap_drop"] == ["ALL"]
    assert container["security_opt"] == ["no-new-privileges:true"]
    assert name == "migrate" or all(volume.endswith(":ro") for volume in container.get("volumes", []))


def test_only_the_migration_has_the_administrators_login() -> None:
    for name, container in OURS.items():
        assert ("DATABASE_URL" in container["environment"]) == (name == "migrate")
        assert "@" not in container["environment"].get("OUTRIDER_DATABASE_ADDRESS", "")


@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_is_one_that_the_service_reads(service: str) -> None:
    module = f"services.{service}.settings"
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} does not exist")
    (settings,) = {
        value
        for value in vars(importlib.import_module(module)).values()
        if isinstance(value, type) and issubclass(value, BaseSettings) and value.__module__ == module
    }
    known = {"OUTRIDER_HOME"}.union(*(names_of(settings, *field) for field in settings.model_fields.items()))

    assert set(SERVICES[service]["environment"]) <= known


def names_of(settings: type[BaseSettings], field: str, info: FieldInfo) -> set[str]:
    """The environment variables that set a field."""
    if isinstance(info.validation_alias, AliasChoices):
        return {str(choice) for choice in info.validation_alias.choices}
    return {str(info.validation_alias or settings.model_config.get("env_prefix", "") + field).upper()}


def test_the_image_is_pinned_hashed_and_not_root() -> None:
    dockerfile = (CHECKOUT / "deploy/Dockerfile").read_text()

    assert all(re.search(r":\d+\.\d+\.\d+-", base) for base in re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE))
    assert "--require-hashes -r requirements.lock" in dockerfile
    assert re.search(r"^USER \d{4,}:\d{4,}$", dockerfile, re.MULTILINE)


def test_the_image_gets_what_it_copies() -> None:
    allowed = {line[1:] for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(\S+)", (CHECKOUT / "deploy/Dockerfile").read_text(), re.MULTILINE)

    assert set(copied) == allowed
    assert all((CHECKOUT / Path(path)).exists() for path in copied)
