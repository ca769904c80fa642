"""The tested pins cover what the project asks for, and nothing is pinned by address."""

import re
import tomllib

from .readme import ROOT

PIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][0-9A-Za-z.]*")
UNTESTED = {"mysql"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> list[str]:
    lines = (ROOT / ".ci" / "constraints.txt").read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


def test_every_line_is_a_name_and_a_version_in_order() -> None:
    assert all(PIN.fullmatch(pin) for pin in pins())
    names = [normal(pin.partition("==")[0]) for pin in pins()]
    assert len(set(names)) == len(names)
    assert [pin.lower() for pin in pins()] == sorted(pin.lower() for pin in pins())


def test_everything_that_is_asked_for_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"]]
    asked += [each for extra, needs in extras.items() if extra not in UNTESTED for each in needs]
    names = {normal(re.split(r"[^A-Za-z0-9._-]", each)[0]) for each in asked}
    pinned = {normal(pin.partition("==")[0]) for pin in pins()}
    assert names - pinned == {normal(project["name"])}
