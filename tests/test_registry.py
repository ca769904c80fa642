"""@job, definitions, and discovery: what is declared, and what is said when it cannot be."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from scheduler.errors import DiscoveryFailed, InvalidData, InvalidOption, InvalidRule, UnknownName
from scheduler.model import CatchUp
from scheduler.registry import Registry, define, discover, job, marks
from scheduler.rules import every
from scheduler.testing.values import MINUTE

HOURLY = every(hours=1)


# --- @job -----------------------------------------------------------------------------------


def test_a_decorated_function_is_unchanged() -> None:
    """It can be called and tested as before; it only carries a mark."""

    @job
    def bare(n: int) -> int:
        """Square."""
        return n * n

    assert bare(3) == 9
    assert bare.__doc__ == "Square."
    [definition] = marks(bare)
    assert (definition.name, definition.rule, definition.function) == ("bare", None, bare)


def test_every_option_is_kept() -> None:
    """As the types the core works with."""

    @job(
        HOURLY,
        name="books",
        data={"region": "eu"},
        queue="q",
        priority=-3,
        max_retries=0,
        timeout=1.5,
        catch_up="all",
        grace=MINUTE,
        catch_up_max=7,
    )
    def export(region: str) -> None: ...

    [definition] = marks(export)
    assert (definition.name, definition.rule, definition.data) == (
        "books",
        HOURLY,
        {"region": "eu"},
    )
    assert (definition.queue, definition.priority, definition.max_retries) == ("q", -3, 0)
    assert (definition.timeout, definition.grace) == (timedelta(seconds=1.5), MINUTE)
    assert (definition.catch_up, definition.catch_up_max) == (CatchUp.ALL, 7)
    assert definition.place.endswith("export")


def test_a_rule_may_be_its_json() -> None:
    """The same as the object."""

    @job({"every": 1, "unit": "hours"})
    def export() -> None: ...

    assert marks(export)[0].rule == HOURLY


def test_a_function_may_carry_several_jobs() -> None:
    """With different names."""

    @job(every(days=1), name="daily")
    @job(HOURLY, name="hourly")
    def export() -> None: ...

    registry = Registry(marks(export))
    assert registry.names == {"daily", "hourly"}


def test_names_are_those_of_now() -> None:
    """Also where they were asked for before another was added."""
    registry = Registry()
    for place in range(3):
        registry.add(define(print, name=str(place)))
        registry.add(define(print, name=str(place)))  # once more: no other
        assert registry.names == {str(each) for each in range(place + 1)}


def test_coroutines_are_told_apart() -> None:
    """Also where they are bound by functools.partial."""

    async def later(n: int) -> None: ...

    def now(n: int) -> None: ...

    assert define(later, name="a").is_async
    assert define(partial(later, 1), name="b").is_async
    assert not define(now, name="c").is_async


Declares = Callable[[], object]


def nothing() -> None: ...


REFUSED: list[tuple[Declares, type[Exception], str]] = [
    (lambda: job("0 9 * * *")(nothing), InvalidOption, "rule: 0 9"),  # type: ignore[call-overload]
    (lambda: job({"every": 0, "unit": "hours"})(nothing), InvalidRule, "every: 0"),
    (lambda: job(name="")(nothing), InvalidOption, "job name"),
    (lambda: job(name="a\nb")(nothing), InvalidOption, "job name"),
    (lambda: job(name="x" * 256)(nothing), InvalidOption, "255"),
    (lambda: job(name=7)(nothing), InvalidOption, "job name: 7"),  # type: ignore[call-overload]
    (lambda: job(queue="")(nothing), InvalidOption, "job nothing: queue"),
    (lambda: job(priority=1.5)(nothing), InvalidOption, "priority: 1.5"),  # type: ignore[call-overload]
    (lambda: job(priority=2**31)(nothing), InvalidOption, "priority"),
    (lambda: job(max_retries=-1)(nothing), InvalidOption, "max_retries: -1"),
    (lambda: job(max_retries=True)(nothing), InvalidOption, "max_retries: True"),
    (lambda: job(timeout=0)(nothing), InvalidOption, "timeout: 0 .* above 0"),
    (lambda: job(timeout="5m")(nothing), InvalidOption, "timeout: 5m"),  # type: ignore[call-overload]
    (lambda: job(timeout=float("inf"))(nothing), InvalidOption, "timeout: inf"),
    (lambda: job(grace=-1)(nothing), InvalidOption, "grace: -1 .* from 0"),
    (lambda: job(catch_up="some")(nothing), InvalidOption, "some is not one of skip, latest, all"),
    (lambda: job(catch_up_max=0)(nothing), InvalidOption, "catch_up_max: 0"),
    (lambda: job(data={"n": {1}})(nothing), InvalidData, r"data\.n: \{1\} is not JSON"),
]


@pytest.mark.parametrize(
    ("declare", "error", "said"),
    REFUSED,
    ids=[f"{n} {said}" for n, (_, _, said) in enumerate(REFUSED)],
)
def test_a_wrong_option_is_refused_where_it_is_written(
    declare: Declares, error: type[Exception], said: str
) -> None:
    """At import, naming the job, the option, the value and what is allowed."""
    with pytest.raises(error, match=said):
        declare()


# --- the registry ---------------------------------------------------------------------------


def test_a_name_is_taken_once() -> None:
    """The error names both places; the same function again is no second job."""

    def first() -> None: ...

    def second() -> None: ...

    registry = Registry([define(first, name="work"), define(first, name="work", priority=1)])
    with pytest.raises(InvalidOption, match=r"work is taken twice, by .*first and .*second"):
        registry.add(define(second, name="work"))
    assert registry.get("work").priority == 1
    assert len(registry) == 1
    assert "work" in registry


def test_an_unknown_name_is_refused_with_what_is_known() -> None:
    """And with what was probably meant."""
    registry = Registry([define(nothing, name="export"), define(nothing, name="import")])
    with pytest.raises(UnknownName, match="did you mean 'export'"):
        registry.get("exprot")
    with pytest.raises(UnknownName, match="known: export, import"):
        registry.get("zzz")


def test_the_data_of_a_recurring_job_are_checked_at_the_start() -> None:
    """Not at its first occurrence in the night."""

    def export(region: str) -> None: ...

    with pytest.raises(InvalidData, match=r"region.* is missing"):
        Registry([define(export, HOURLY, name="export")])
    Registry([define(export, HOURLY, name="export", data={"region": "eu"})])
    Registry([define(export, name="export")])


# --- discovery ------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory; what is imported from it is forgotten after the test."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    for name in set(sys.modules) - before:
        module = sys.modules[name]
        places = [getattr(module, "__file__", ""), *getattr(module, "__path__", ())]
        if any(str(tmp_path.parent) in str(place) for place in places):
            del sys.modules[name]


def write(tree: Path, **files: str) -> None:
    """`pkg__mod="…"` is pkg/mod.py, indented as it is here."""
    for name, source in files.items():
        path = tree / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(source))


JOB = """
    from scheduler import every, job

    @job(every(hours=1))
    def {name}(): ...
"""


def test_packages_are_walked_recursively(tree: Path) -> None:
    """In order of their names; what is not declared is not found; __main__ is not run."""
    write(
        tree,
        tasks__a=JOB.format(name="first"),
        tasks__deep__b=JOB.format(name="second"),
        tasks__c="def helper(): ...",
        single=JOB.format(name="third"),
    )
    for package in ("tasks", "tasks/deep"):
        (tree / package / "__init__.py").touch()
    (tree / "tasks" / "__main__.py").write_text("raise SystemExit('run')")
    registry = discover(["tasks", "single"])
    assert [definition.name for definition in registry] == ["first", "second", "third"]
    assert registry.get("second").module == "tasks.deep.b"


@pytest.fixture
def installed(tree: Path) -> Path:
    """A directory that was on the path before the working directory, with a package `tasks`."""
    elsewhere = tree.with_name(f"{tree.name}-installed")
    write(elsewhere, tasks__a=JOB.format(name="theirs"))
    (elsewhere / "tasks" / "__init__.py").touch()
    sys.path.insert(0, str(elsewhere))
    sys.path.append(str(tree))
    return elsewhere


@pytest.mark.parametrize("has_init", [True, False])
@pytest.mark.parametrize("name", ["tasks", "tasks.a"])
def test_the_working_directory_comes_before_what_is_installed(
    tree: Path, installed: Path, name: str, has_init: bool
) -> None:
    """A folder too, though Python prefers any package that has an `__init__.py`."""
    write(tree, tasks__a=JOB.format(name="ours") + "\n    from tasks import b", tasks__b="")
    if has_init:
        (tree / "tasks" / "__init__.py").touch()
    assert discover([name]).names == {"ours"}


def test_a_folder_without_modules_hides_no_package(tree: Path, installed: Path) -> None:
    """A checkout, or what jobs have written."""
    (tree / "tasks" / "src").mkdir(parents=True)
    (tree / "tasks" / "a.csv").touch()
    assert discover(["tasks"]).names == {"theirs"}


def test_a_namespace_in_several_places_stays_whole(tree: Path, installed: Path) -> None:
    """Its part in the working directory may use the part that is installed."""
    write(installed, company__library="RULE = {'every': 1, 'unit': 'hours'}")
    write(
        tree,
        company__tasks="""
            from company.library import RULE
            from scheduler import job

            @job(RULE)
            def ours(): ...
        """,
    )
    assert discover(["company.tasks"]).names == {"ours"}


def test_what_a_module_imports_is_not_its_own(tree: Path) -> None:
    """A job is declared where it stands."""
    write(tree, one=JOB.format(name="shared"), two="from one import shared")
    assert [definition.name for definition in discover(["two"])] == []
    assert [definition.name for definition in discover(["one", "two"])] == ["shared"]


def test_an_alias_is_the_same_job(tree: Path) -> None:
    """Two names of one function in a module declare it once."""
    write(tree, one=JOB.format(name="shared") + "\n    again = shared\n")
    assert [definition.name for definition in discover(["one"])] == ["shared"]


def test_two_jobs_of_one_name_are_refused(tree: Path) -> None:
    """Naming both, and the way out."""
    write(tree, one=JOB.format(name="export"), two=JOB.format(name="export"))
    with pytest.raises(InvalidOption, match=r"one\.export and two\.export; give one of them name="):
        discover(["one", "two"])


BROKEN: dict[str, tuple[str, str]] = {
    "NameError": (
        """
        from scheduler import job

        @job
        def export(): ...

        exprot()
        """,
        r"broken\.py:7: NameError: name 'exprot' is not defined",
    ),
    "SyntaxError": ("def export(:\n", r"broken\.py:1: SyntaxError: invalid syntax"),
    "IndentationError": ("if True:\nx = 1\n", r"broken\.py:2: IndentationError"),
    "ImportError": ("\nfrom os import no_such", r"broken\.py:2: ImportError: cannot import name"),
    "a missing dependency": (
        "\n\nimport no_such_dependency",
        r"broken\.py:3: ModuleNotFoundError: No module named 'no_such_dependency'",
    ),
    "a wrong rule": (
        """
        from scheduler import every, job

        @job(every(hours=0))
        def export(): ...
        """,
        r"broken\.py:4: InvalidRule: every: 0",
    ),
    "a wrong option": (
        """
        from scheduler import job

        @job(timeout=-1)
        def export(): ...
        """,
        r"broken\.py:\d: InvalidOption: job export: timeout: -1",
    ),
    "SystemExit": ("raise SystemExit(3)", r"broken\.py:1: SystemExit: 3"),
    "a deep cause": (
        "\n\ndef inner():\n    return 1 / 0\n\ninner()\n",
        r"broken\.py:4: ZeroDivisionError",
    ),
    "not text": ("x = 1\x00\n", r"SyntaxError|ValueError"),
}


@pytest.mark.parametrize(("source", "said"), BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("inside", ["broken", "package.broken"])
def test_a_module_that_cannot_be_imported_is_named_with_file_and_line(
    tree: Path, source: str, said: str, inside: str
) -> None:
    """Given itself, or found in a package."""
    if inside == "broken":
        write(tree, broken=source)
    else:
        write(tree, package__broken=source)
        (tree / "package" / "__init__.py").touch()
    with pytest.raises(DiscoveryFailed, match=f"module {inside}: .*({said})"):
        discover([inside.split(".")[0]])


@pytest.mark.parametrize("name", ["no_such_module", "no_such.module", "os.no_such"])
def test_a_module_that_is_not_there_is_named(tree: Path, name: str) -> None:
    """With the directory that was searched, and the mend."""
    with pytest.raises(DiscoveryFailed, match=f"module {name}.*not found in {tree}.*--modules"):
        discover([name])


@pytest.mark.parametrize("name", ["", "jobs/books.py", "jobs.", "..jobs", "a b", "jobs:books"])
def test_what_is_no_module_name_is_refused(tree: Path, name: str) -> None:
    """With how to write it."""
    with pytest.raises(DiscoveryFailed, match="not a module name; write it as Python imports it"):
        discover([name])


def test_discovering_twice_declares_the_same(tree: Path) -> None:
    """Nothing is global: the second registry is as the first."""
    write(tree, one=JOB.format(name="export"))
    first, second = discover(["one"]), discover(["one", "one"])
    assert [d.name for d in first] == [d.name for d in second] == ["export"]


def test_no_modules_are_no_jobs() -> None:
    """An executor may have handlers registered by hand."""
    empty: Any = discover([])
    assert len(empty) == 0
