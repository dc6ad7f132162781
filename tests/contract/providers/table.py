"""Writes the tables of docs/providers.md from the registry: `python -m tests.contract.providers.table`.

What stands outside the marks is written by people and stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from libs.providers.capabilities import CAPABILITIES
from libs.providers.effects import WRITES
from libs.providers.records import MEANINGS, Figure
from libs.providers.registry import PROVIDERS

PAGE = Path(__file__).parents[3] / "docs" / "providers.md"
BEGIN, END = "<!-- written by tests.contract.providers.table: begin -->", "<!-- end -->"


def tables() -> str:
    return "\n".join([*_offers(), "", *_lacks(), "", *_figures(), "", *_effects()])


def written(page: str) -> str:
    """The page with its tables as they are now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


def _offers() -> Iterator[str]:
    yield "## Who can do what"
    yield ""
    yield f"| capability | | {' | '.join(PROVIDERS)} |"
    yield f"| --- | --- |{' :-: |' * len(PROVIDERS)}"
    for capability in CAPABILITIES:
        cells = ("yes" if provider.offers(capability) else "no" for provider in PROVIDERS.values())
        yield f"| `{capability.__name__}` | {_sentence(capability)} | {' | '.join(cells)} |"


def _lacks() -> Iterator[str]:
    yield "## What a provider cannot do, and why"
    for provider in PROVIDERS.values():
        yield ""
        yield f"**{provider.name}**"
        reasons: dict[str, list[str]] = {}
        for capability in CAPABILITIES:
            if not provider.offers(capability):
                reasons.setdefault(provider.lacks[capability.__name__], []).append(f"`{capability.__name__}`")
        for why, names in reasons.items():
            yield f"- {', '.join(names)}: {why}."


def _figures() -> Iterator[str]:
    yield "## Figures"
    yield ""
    yield f"| figure | | {' | '.join(PROVIDERS)} |"
    yield f"| --- | --- |{' --- |' * len(PROVIDERS)}"
    for figure in Figure:
        cells = (
            _told(provider.figures.get(figure), figure in provider.step_figures) for provider in PROVIDERS.values()
        )
        yield f"| `{figure.value}` | {MEANINGS[figure]} | {' | '.join(cells)} |"


def _told(name: str | None, by_step: bool) -> str:
    """`+`: by step, too; `steps`: by step alone."""
    if name is None:
        return "steps alone" if by_step else ""
    return f"`{name}`" + " +" * by_step


def _effects() -> Iterator[str]:
    yield "## Writes whose answer was lost"
    yield ""
    yield f"| operation | {' | '.join(PROVIDERS)} |"
    yield f"| --- |{' --- |' * len(PROVIDERS)}"
    for operation in WRITES:
        yield f"| `{operation}` | {' | '.join(_fate(provider.name, operation) for provider in PROVIDERS.values())} |"


def _fate(provider: str, operation: str) -> str:
    effect = PROVIDERS[provider].effects.get(operation)
    if effect is None:
        return ""
    if effect.may_repeat:
        return f"made again: {effect.why}"
    if effect.read_back is None:
        return f"a person decides: {effect.why}"
    then = "absent: sent again" if effect.absence_is_proof else "absent: a person decides"
    return f"looked for after {effect.read_back_after_seconds:g} s; {then}: {effect.why}"


def _sentence(capability: type[object]) -> str:
    return (capability.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ").split(". ")[0].rstrip(".")


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
