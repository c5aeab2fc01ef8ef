"""Writes docs/reference from the docstrings: each argument is described once, in the code."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import griffe

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDER = REPOSITORY / "docs" / "reference"
PACKAGE = "airflow_provider_scenario"

PAGES = {
    "generate": ("Generate operators", ("operators.generate", "operators.model")),
    "wan": ("Wan operators", ("operators.wan",)),
    "estimate": ("Estimate operator", ("operators.estimate",)),
    "sensor": ("Job sensor", ("sensors.job",)),
    "transfers": ("Transfers", ("transfers.object_storage_to_scenario", "transfers.scenario_to_object_storage")),
    "triggers": ("Triggers", ("triggers.job", "triggers.capacity", "triggers.search")),
    "hook": ("Hook", ("hooks.scenario",)),
    "run-cost": ("Cost of a run", ("run_cost", "submission.charges")),
    "retry-policy": ("Retry policy", ("retry_policy",)),
    "exceptions": ("Exceptions", ("exceptions",)),
    "links": ("Links", ("links",)),
}
"""Each page: its title and its modules."""

SHOWN_OF = {
    "retry_policy": ("ScenarioRetryPolicy",),
    "submission.charges": ("ChargeStatus", "JobCost", "RunCost"),
    "triggers.job": ("ScenarioJobTrigger", "ScenarioSensorTrigger"),
}
"""What is public in modules that hold more than that."""

INHERITED = re.compile(
    r"execute(_complete|_when_free|_after_search)?|resume_execution|on_kill|poke|serialize|deserialize|run|evaluate|api_inputs"
    r"|argument_name|get_link|from_json"
)
"""Methods that Airflow or this package calls, not an author."""


def pages() -> dict[str, str]:
    """Return the text of each page by its file's name."""
    package = griffe.load(
        PACKAGE, search_paths=[str(REPOSITORY)], docstring_parser="sphinx", docstring_options={"warnings": False}
    )
    made = {
        f"{name}.md": _page(title, [package[module] for module in modules], modules)
        for name, (title, modules) in PAGES.items()
    }
    rows = "\n".join(f"- [{title}]({name}.md)" for name, (title, _) in PAGES.items())
    made["index.md"] = f"# Reference\n\nMade from the docstrings by `make reference`.\n\n{rows}\n"
    return made


def _page(title: str, modules: list[griffe.Object | griffe.Alias], names: tuple[str, ...]) -> str:
    parts = [f"# {title}\n"]
    for module, name in zip(modules, names, strict=True):
        parts.append(f"Module `{module.path}`.\n")
        if name not in SHOWN_OF:
            parts += _text_of(module)
        for member in _public(module, SHOWN_OF.get(name)):
            parts += _class(member) if member.is_class else _function(member, "##")
    return "\n".join(parts).rstrip() + "\n"


def _public(module: griffe.Object | griffe.Alias, names: tuple[str, ...] | None) -> Iterator[griffe.Object]:
    for name, member in module.members.items():
        if isinstance(member, griffe.Alias) or name.startswith("_") or not (member.is_class or member.is_function):
            continue
        if names is None or name in names:
            if module.path.endswith(".run_cost") and name != "get_run_cost":
                continue
            yield member


def _class(shown: griffe.Object) -> list[str]:
    assert isinstance(shown, griffe.Class)
    parts = [f"## {shown.name}\n", *_signature(shown)]
    bases = [str(base).rpartition(".")[2] for base in shown.bases]
    public = [base for base in bases if not base.startswith("_") and base not in ("object", "Exception")]
    if public:
        parts.append(f"Derives from {', '.join(f'`{base}`' for base in public)}.\n")
    parts += _text_of(shown)
    for member in shown.members.values():
        if isinstance(member, griffe.Alias) or member.name.startswith("_") or INHERITED.fullmatch(member.name):
            continue
        if member.is_function:
            parts += _function(member, "###")
        elif member.is_attribute and member.docstring and "property" in member.labels:
            parts += [f"### {member.name}\n", *_text_of(member)]
        elif member.is_attribute and member.docstring:
            parts += [f"`{member.name}`: {' '.join(_markdown(member.docstring.value).split())}\n"]
    return parts


def _function(shown: griffe.Object, level: str) -> list[str]:
    return [f"{level} {shown.name}\n", *_signature(shown), *_text_of(shown)]


def _signature(shown: griffe.Object) -> list[str]:
    function = shown
    if isinstance(shown, griffe.Class):
        made = shown.members.get("__init__")
        if not isinstance(made, griffe.Function):
            return []
        function = made
    assert isinstance(function, griffe.Function)
    given = [one for one in function.parameters if one.name not in ("self", "cls", "kwargs")]
    shown_ones, is_keyword = [], False
    for one in given:
        if one.kind is griffe.ParameterKind.keyword_only and not is_keyword:
            shown_ones.append("*")
            is_keyword = True
        note = f": {one.annotation}" if one.annotation is not None else ""
        default = "" if one.default is None else f" = {one.default}" if note else f"={one.default}"
        shown_ones.append(f"{one.name}{note}{default}")
    if any(one.name == "kwargs" for one in function.parameters):
        shown_ones.append("**kwargs")
    prefix = "async " if "async" in function.labels else ""
    returns = f" -> {function.returns}" if function.returns is not None and function is shown else ""
    one_line = f"{prefix}{shown.name}({', '.join(shown_ones)}){returns}"
    if len(one_line) > 100:
        inner = "\n".join(f"    {one}," for one in shown_ones)
        one_line = f"{prefix}{shown.name}(\n{inner}\n){returns}"
    return [f"```text\n{one_line}\n```\n"]


def _text_of(shown: griffe.Object | griffe.Alias) -> list[str]:
    if shown.docstring is None:
        return []
    parts = []
    for section in shown.docstring.parsed:
        match section:
            case griffe.DocstringSectionText():
                parts.append(f"{_markdown(section.value)}\n")
            case griffe.DocstringSectionParameters():
                rows = [f"| `{one.name}` | {_cell(one.description)} |" for one in section.value]
                parts.append("\n".join(("| Parameter | Meaning |", "| --- | --- |", *rows)) + "\n")
            case griffe.DocstringSectionReturns():
                parts += [f"Returns: {_cell(one.description)}\n" for one in section.value]
            case griffe.DocstringSectionRaises():
                rows = [f"- `{one.annotation}` {_cell(one.description)}" for one in section.value]
                parts.append("\n".join(("Raises:\n", *rows)) + "\n")
    return parts


def _cell(text: str) -> str:
    return " ".join(_markdown(text).split()).replace("|", "\\|")


def _markdown(text: str) -> str:
    """Turn the little reStructuredText of the docstrings into Markdown."""
    text = re.sub(r":(?:class|meth|func|mod|attr):`~?([^`]*)`", lambda match: f"`{match[1].rpartition('.')[2]}`", text)
    text = re.sub(r"``([^`]*)``", r"`\1`", text)
    return re.sub(r"::\n\n((?:    .*\n?|\n)+)", _fenced, text).strip()


def _fenced(match: re.Match[str]) -> str:
    return f":\n\n```python\n{textwrap.dedent(match[1]).strip()}\n```\n\n"


def main() -> int:
    """Write the pages, and remove those that are no more."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    made = pages()
    for old in FOLDER.glob("*.md"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
