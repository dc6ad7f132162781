"""What was released is promised: which changes of a contract break it, and that none of ours does."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import jsonschema_rs
import orjson
import pytest
from pydantic import BaseModel, ValidationError
from typer.testing import CliRunner

from libs.contracts import compatibility, documents
from libs.contracts.event import Event, registry
from libs.errors import Conflict, Invalid
from libs.state import CHECKOUT
from services.cli import openapi
from services.cli.main import app
from tests.contract.events.record import SAMPLES

COMMITTED = CHECKOUT / "contracts"
Change = Callable[[Any], object]

every_event = pytest.mark.parametrize("event", registry.types.values(), ids=registry.types.keys())


class _Part(BaseModel):
    number: int
    note: str | None = None


class _Lid(BaseModel):
    tight: bool


class _Cup(BaseModel):
    """One field of every shape that our events have."""

    cup_id: str
    litres: float
    colour: Literal["red", "blue"]
    owner: str | None = None
    kind: Literal["tea"] = "tea"
    filled: Literal["up", "half"] | None = None
    unit: int | str = 0
    parts: tuple[_Part, ...] = ()
    pairs: tuple[tuple[str, int], ...] = ()
    labels: dict[str, str] = {}
    lid: _Lid | None = None


def a_release() -> dict[str, Any]:
    schema = _Cup.model_json_schema()
    return {
        "version": "v0.1.0",
        "envelope": documents.envelope_schema(),
        "events": {
            "cup.filled.v1": {
                "publishers": ["kitchen"],
                "heard_by": ["table.cups", "sink.cups"],
                "binary": None,
                "schema": {key: schema[key] for key in ("properties", "required", "$defs")},
            },
            "cup.broken.v1": {"publishers": ["kitchen"], "heard_by": ["sink.cups"], "binary": "shards", "schema": {}},
        },
    }


def cup(document: dict[str, Any]) -> Any:
    return document["events"]["cup.filled.v1"]


def fields(document: dict[str, Any]) -> Any:
    return cup(document)["schema"]["properties"]


def part(document: dict[str, Any]) -> Any:
    return cup(document)["schema"]["$defs"]["_Part"]


def required(document: dict[str, Any]) -> Any:
    return cup(document)["schema"]["required"]


def rename_definition(document: dict[str, Any]) -> None:
    text = orjson.dumps(cup(document)["schema"]).decode().replace("_Part", "_Piece")
    cup(document)["schema"] = orjson.loads(text)


# What is changed, and how.
ALLOWED: dict[str, Change] = {
    "nothing": lambda d: None,
    "an event joins": lambda d: d["events"].update({"cup.washed.v1": deepcopy(cup(d))}),
    "a successor stands beside": lambda d: d["events"].update({"cup.filled.v2": deepcopy(cup(d))}),
    "an optional field joins": lambda d: fields(d).update({"sugar": {"type": "boolean", "default": False}}),
    "an optional field joins inside": lambda d: part(d)["properties"].update({"glued": {"type": "boolean"}}),
    "a listener joins": lambda d: cup(d)["heard_by"].append("shelf.cups"),
    "listeners in another order": lambda d: cup(d)["heard_by"].reverse(),
    "a publisher joins": lambda d: cup(d)["publishers"].append("bar"),
    "prose": lambda d: fields(d)["litres"].update({"description": "how full", "title": "L"}),
    "values in another order": lambda d: fields(d)["colour"]["enum"].reverse(),
    "alternatives in another order": lambda d: fields(d)["unit"]["anyOf"].reverse(),
    "a constant as a list of one": lambda d: (fields(d)["kind"].pop("const"), fields(d)["kind"].update(enum=["tea"])),
    "a definition has another name": rename_definition,
    "fields in another order": lambda d: cup(d)["schema"].update(properties=dict(reversed(fields(d).items()))),
    "required in another order": lambda d: required(d).reverse(),
    "an attribute joins the envelope": lambda d: d["envelope"]["properties"].update({"shelf": {"type": "string"}}),
}

# What is changed, how, and what the one sentence must hold: the place, and what is wrong with it.
FORBIDDEN: dict[str, tuple[Change, str, str]] = {
    "event gone": (lambda d: d["events"].pop("cup.filled.v1"), "cup.filled.v1: ", "is gone"),
    "listener gone": (lambda d: cup(d)["heard_by"].remove("sink.cups"), "listener sink.cups", "is gone"),
    "publisher changed": (lambda d: cup(d).update(publishers=["bar"]), "kitchen", "publishes it no more"),
    "became binary": (lambda d: cup(d).update(binary="parts"), "field parts", "rides otherwise"),
    "binary no more": (lambda d: d["events"]["cup.broken.v1"].update(binary=None), "field shards", "rides otherwise"),
    "required field gone": (
        lambda d: (fields(d).pop("litres"), required(d).remove("litres")), "field litres", "is gone",
    ),
    "optional field gone": (lambda d: fields(d).pop("owner"), "field owner", "is gone"),
    "field gone inside": (lambda d: part(d)["properties"].pop("note"), "field parts[].note", "is gone"),
    "required field joins": (
        lambda d: (fields(d).update(sugar={"type": "boolean"}), required(d).append("sugar")),
        "field sugar", "new and required",
    ),
    "required field joins inside": (
        lambda d: (part(d)["properties"].update(glue={"type": "string"}), part(d)["required"].append("glue")),
        "field parts[].glue", "new and required",
    ),
    "optional became required": (lambda d: required(d).append("owner"), "field owner", "required now"),
    "required became optional": (lambda d: required(d).remove("litres"), "field litres", "may be absent now"),
    "required became optional inside": (
        lambda d: part(d)["required"].remove("number"), "field parts[].number", "may be absent now",
    ),
    "another default": (lambda d: fields(d)["unit"].update(default=1), "field unit", "another default"),
    "default gone": (lambda d: fields(d)["unit"].pop("default"), "field unit", "another default"),
    "null no more": (lambda d: fields(d).update(owner={"type": "string"}), "field owner", "may not be null now"),
    "null no more beside a model": (
        lambda d: fields(d)["lid"]["anyOf"].pop(), "field lid", "may not be null now",
    ),
    "null allowed": (
        lambda d: fields(d).update(litres={"anyOf": [{"type": "number"}, {"type": "null"}]}),
        "field litres", "may be null now",
    ),
    "another type": (lambda d: fields(d)["cup_id"].update(type="integer"), "field cup_id", '"integer"'),
    "narrower type": (lambda d: fields(d)["litres"].update(type="integer"), "field litres", '"integer"'),
    "wider type": (
        lambda d: fields(d).update(cup_id={"anyOf": [{"type": "string"}, {"type": "integer"}]}),
        "field cup_id", "keep it as it was",
    ),
    "an alternative gone": (lambda d: fields(d)["unit"]["anyOf"].pop(), "field unit", "keep it as it was"),
    "an alternative joins": (
        lambda d: fields(d)["unit"]["anyOf"].append({"type": "boolean"}), "field unit", "keep it as it was",
    ),
    "format joins": (lambda d: fields(d)["cup_id"].update(format="uuid"), "field cup_id", '"uuid"'),
    "limit joins": (lambda d: fields(d)["litres"].update(maximum=3), "field litres", '"maximum"'),
    "limit gone": (lambda d: fields(d)["pairs"]["items"].pop("maxItems"), "field pairs[]", '"maxItems"'),
    "unknown word joins": (lambda d: fields(d)["labels"].update(minProperties=1), "field labels", "minProperties"),
    "new value": (lambda d: fields(d)["colour"]["enum"].append("gold"), "field colour", 'new values "gold"'),
    "value gone": (lambda d: fields(d)["colour"]["enum"].remove("red"), "field colour", 'knows "red" no more'),
    "new value beside null": (
        lambda d: fields(d)["filled"]["anyOf"][0]["enum"].append("over"), "field filled", 'new values "over"',
    ),
    "constant became a list": (
        lambda d: (fields(d)["kind"].pop("const"), fields(d)["kind"].update(enum=["tea", "milk"])),
        "field kind", 'new values "milk"',
    ),
    "list became text": (lambda d: fields(d)["colour"].pop("enum"), "field colour", "keep it as it was"),
    "text became a list": (lambda d: fields(d)["cup_id"].update(enum=["a"]), "field cup_id", "keep it as it was"),
    "other members": (lambda d: fields(d)["parts"].update(items={"type": "string"}), "field parts[]", '"string"'),
    "other place of a pair": (
        lambda d: fields(d)["pairs"]["items"]["prefixItems"][1].update(type="string"), "field pairs[][1]", '"string"',
    ),
    "longer pair": (
        lambda d: fields(d)["pairs"]["items"]["prefixItems"].append({"type": "string"}), "field pairs[]", "prefixItems",
    ),
    "other values of a mapping": (
        lambda d: fields(d)["labels"]["additionalProperties"].update(type="integer"), "field labels{}", '"integer"',
    ),
    "unknown fields refused": (
        lambda d: part(d).update(additionalProperties=False), "field parts[]", "additionalProperties",
    ),
    "attribute gone": (lambda d: d["envelope"]["properties"].pop("replayid"), "envelope: field replayid", "is gone"),
    "attribute required": (lambda d: d["envelope"]["required"].append("companyid"), "field companyid", "required now"),
}  # fmt: skip


@pytest.mark.parametrize("change", ALLOWED.values(), ids=ALLOWED.keys())
def test_what_old_readers_and_old_events_can_live_with_passes(change: Change) -> None:
    present = a_release()
    change(present)

    assert compatibility.breaches({"v0.1.0": a_release()}, present) == []


@pytest.mark.parametrize(("change", "place", "fault"), FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_what_breaks_a_promise_is_one_sentence_with_its_place_and_remedy(
    change: Change, place: str, fault: str
) -> None:
    present = a_release()
    change(present)

    found = compatibility.breaches({"v0.1.0": a_release()}, present)

    assert len(found) == 1
    assert place in found[0]
    assert fault in found[0]
    assert found[0].endswith(" (promised by v0.1.0)")


def test_readers_do_refuse_the_values_that_are_forbidden_for_their_sake() -> None:
    """Were a reader lenient about new values, the rule against them could go."""
    least: dict[str, Any] = {"cup_id": "1", "litres": 0.2, "colour": "red"}
    _Cup.model_validate(least | {"unheard_of": 1})

    refusals: list[dict[str, Any]] = [{"colour": "gold"}, {"litres": None}, {"cup_id": 7}, {"parts": [{}]}]
    for refused in refusals:
        with pytest.raises(ValidationError):
            _Cup.model_validate(least | refused)


def test_the_first_release_binds_as_long_as_the_last() -> None:
    first, second = a_release(), a_release()
    fields(second)["sugar"] = {"type": "boolean", "default": False}  # joins with the second: allowed
    second["events"].pop("cup.broken.v1")  # and the second let this pass
    present = deepcopy(second)
    fields(present)["sugar"] = {"type": "string", "default": False}
    fields(present).pop("owner")

    assert compatibility.breaches({"v0.1.0": first}, second) != []
    found = compatibility.breaches({"v0.1.0": first, "v0.2.0": second}, present)

    ends = {one.split(": ")[0] + one.split(": ")[1][:12]: one.rsplit("(", 1)[1] for one in found}
    assert ends == {
        "cup.filled.v1field owner ": "promised by v0.1.0, v0.2.0)",
        "cup.filled.v1field sugar ": "promised by v0.2.0)",
        "cup.broken.v1the event is": "promised by v0.1.0)",
    }


def test_a_schema_within_itself_is_compared_once() -> None:
    leaf = {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/Leaf"}, {"type": "null"}]}}}
    old, new = a_release(), a_release()
    for document in (old, new):
        cup(document)["schema"] = {"properties": {"leaf": {"$ref": "#/$defs/Leaf"}}, "$defs": {"Leaf": deepcopy(leaf)}}
    assert compatibility.breaches({"v0.1.0": old}, new) == []

    del cup(new)["schema"]["$defs"]["Leaf"]["properties"]["next"]
    assert len(compatibility.breaches({"v0.1.0": old}, new)) == 1


def test_what_we_released_is_kept() -> None:
    releases = compatibility.released(COMMITTED)

    assert compatibility.breaches(releases, compatibility.promises()) == []
    assert compatibility.lost_samples(releases, SAMPLES) == []


@every_event
def test_no_field_of_ours_can_go_unnoticed(event: type[Event]) -> None:
    name = event.routing_key
    before = compatibility.promises()
    before["events"] = {name: before["events"][name]}
    assert compatibility.breaches({"v0.1.0": before}, compatibility.promises()) == []

    for field in before["events"][name]["schema"]["properties"]:
        for change in ("gone", "required", "null", "value"):
            present = deepcopy(before)
            schema = present["events"][name]["schema"]
            needed, shapes = schema["required"], schema["properties"]
            if change == "gone":
                del shapes[field]
            elif change == "required":
                needed.remove(field) if field in needed else needed.append(field)
            elif change == "null":
                nullable = {"type": "null"} in shapes[field].get("anyOf", ())
                shapes[field] = shapes[field]["anyOf"][0] if nullable else {"anyOf": [shapes[field], {"type": "null"}]}
            else:
                shapes[field] = {"enum": ["another"]}
            found = compatibility.breaches({"v0.1.0": before}, present)
            assert any(one.startswith(f"{name}: field {field}") for one in found), (field, change)


# Releases, in folders of their own.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    documents.write(tmp_path / "contracts")
    shutil.copy(COMMITTED / openapi.FILE, tmp_path / "contracts")
    return tmp_path / "contracts"


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SAMPLES, tmp_path / "samples"))


def test_a_release_holds_all_that_was_promised(folder: Path, samples: Path) -> None:
    path = compatibility.release(folder, "v0.1.0", samples)

    kept = orjson.loads(path.read_bytes())
    assert path == folder / "released" / "v0.1.0.json"
    assert compatibility.released(folder) == {"v0.1.0": kept}
    assert kept["events"].keys() == registry.types.keys()
    for name, event in kept["events"].items():
        jsonschema_rs.meta.validate(event["schema"])
        assert event["schema"] == orjson.loads((folder / f"{name}.json").read_bytes())
        assert event["samples"].keys() == {file.name for file in (samples / name).iterdir()}
    assert kept["envelope"] == orjson.loads((folder / "envelope.json").read_bytes())
    assert documents.write(folder)  # and leaves what was released alone
    assert path.exists()


def test_releases_are_in_order_of_their_numbers(folder: Path, samples: Path) -> None:
    for version in ("v0.2.0", "v0.10.0", "v1.0.0"):
        compatibility.release(folder, version, samples)

    assert list(compatibility.released(folder)) == ["v0.2.0", "v0.10.0", "v1.0.0"]


@pytest.mark.parametrize("version", ["v0.1.0", "v0.0.9", "v0.1.1"])
def test_a_version_is_released_once_and_greater_than_the_last(folder: Path, samples: Path, version: str) -> None:
    compatibility.release(folder, "v0.1.0", samples)
    last = compatibility.release(folder, "v0.1.1", samples)
    before = last.read_bytes()

    with pytest.raises(Conflict, match="choose a greater version"):
        compatibility.release(folder, version, samples)

    assert last.read_bytes() == before
    assert len(compatibility.released(folder)) == 2


@pytest.mark.parametrize("version", ["0.1.0", "v0.1", "v0.01.0", "v0.1.0-rc1", "../v0.1.0", "", "v0.1.0\n"])
def test_a_version_looks_like_one(folder: Path, samples: Path, version: str) -> None:
    with pytest.raises(Invalid, match=r"v0\.1\.0"):
        compatibility.release(folder, version, samples)


@pytest.mark.parametrize(
    "drift",
    [
        lambda folder: (folder / "lead.recorded.v1.json").write_text("{}"),
        lambda folder: (folder / "envelope.json").unlink(),
        lambda folder: (folder / "gone.away.v1.json").write_text("{}"),
    ],
    ids=["changed", "missing", "surplus"],
)
def test_nothing_is_released_while_documents_and_code_differ(folder: Path, samples: Path, drift: Any) -> None:
    drift(folder)

    with pytest.raises(Conflict, match="make contracts"):
        compatibility.release(folder, "v0.1.0", samples)

    assert compatibility.released(folder) == {}


def test_nothing_is_released_that_breaks_a_promise(folder: Path, samples: Path) -> None:
    _promise_more(compatibility.release(folder, "v0.1.0", samples))

    with pytest.raises(Conflict, match="field more is gone"):
        compatibility.release(folder, "v0.2.0", samples)


def test_a_released_sample_may_neither_go_nor_change(folder: Path, samples: Path) -> None:
    compatibility.release(folder, "v0.1.0", samples)
    (samples / "lead.recorded.v1" / "newer.json").write_text("{}")  # one more is welcome
    assert compatibility.lost_samples(compatibility.released(folder), samples) == []

    (samples / "lead.recorded.v1" / "full.json").unlink()
    (samples / "sync.completed.v1" / "least.json").write_text("{}")

    lost = compatibility.lost_samples(compatibility.released(folder), samples)
    assert [one.split(" is ")[0] for one in lost] == [
        "sample lead.recorded.v1/full.json",
        "sample sync.completed.v1/least.json",
    ]
    with pytest.raises(Conflict, match="restore the bytes of v0"):
        compatibility.release(folder, "v0.2.0", samples)


def test_an_event_without_samples_is_not_released(folder: Path, samples: Path) -> None:
    shutil.rmtree(samples / "lead.recorded.v1")

    with pytest.raises(Conflict, match=r"lead\.recorded\.v1 has no samples"):
        compatibility.release(folder, "v0.1.0", samples)


def test_a_released_file_under_another_name_is_none(folder: Path, samples: Path) -> None:
    path = compatibility.release(folder, "v0.1.0", samples)

    path.rename(path.with_name("v0.2.0.json"))
    with pytest.raises(Invalid, match="restore"):
        compatibility.released(folder)

    path.with_name("v0.2.0.json").rename(path.with_name("notes.json"))
    with pytest.raises(Invalid, match="notes"):
        compatibility.released(folder)


# The command.


def outrider(*words: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["contracts", *map(str, words)])
    return result.exit_code, result.stdout, result.stderr


def test_the_check_says_so_while_nothing_is_released(folder: Path) -> None:
    before = {file: file.read_bytes() for file in folder.iterdir()}

    code, said, talk = outrider("--check", "--folder", folder)

    assert (code, said) == (0, "")
    assert "nothing is released yet" in talk
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


def test_the_command_releases_and_checks(folder: Path) -> None:
    path = folder / "released" / "v0.1.0.json"
    code, said, talk = outrider("--release", "v0.1.0", "--folder", folder)
    assert (code, said) == (0, f"{path}\n")
    assert "git tag v0.1.0" in talk
    assert outrider("--check", "--folder", folder) == (0, "", "")

    _promise_more(path)
    code, said, _ = outrider("--check", "--folder", folder)

    assert code == 1
    assert said == (
        "lead.recorded.v1: field more is gone, and old readers look for it: bring it back as it was (promised by v0.1.0)\n"
    )


def test_the_command_refuses_what_makes_no_sense(folder: Path, tmp_path: Path) -> None:
    assert outrider("--check", "--release", "v0.1.0", "--folder", folder)[0] == 2
    assert outrider("--check", "--folder", tmp_path / "nowhere")[0] == 2


def _promise_more(path: Path) -> None:
    """As if the release had held a field that the code no longer has."""
    document = orjson.loads(path.read_bytes())
    document["events"]["lead.recorded.v1"]["schema"]["properties"]["more"] = {"type": "string"}
    path.write_bytes(orjson.dumps(document))
