"""constraints*.txt and package-lock.json: every package that is installed, at one version, with its files' hashes."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
WANTED = {
    "constraints.txt": PYPROJECT["project"]["dependencies"] + PYPROJECT["build-system"]["requires"],
    "constraints-test.txt": EXTRAS["test"],
    "constraints-lint.txt": EXTRAS["lint"],
}


def pinned(name: str) -> dict[str, str]:
    """Package → version."""
    return dict(
        re.findall(r"^([a-z0-9._-]+)==([^ ;]+)", (PROJECT / name).read_text(), re.MULTILINE)
    )


@pytest.mark.parametrize("name", WANTED)
def test_what_the_project_asks_for_is_pinned_within_its_bounds(name):
    found = {package: version for file in WANTED for package, version in pinned(file).items()}
    for wanted in map(Requirement, WANTED[name]):
        assert wanted.specifier.contains(found[wanted.name.lower()]), wanted.name


@pytest.mark.parametrize("name", WANTED)
def test_every_pin_has_hashes_and_no_address(name):
    for pin in re.split(r"\n(?=\S)", (PROJECT / name).read_text().strip()):
        assert re.fullmatch(
            r"[a-z0-9._-]+==[\w.+!]+( ; [^\\\n]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+", pin
        ), pin[:80]


@pytest.mark.parametrize(
    ("folder", "least"),
    [
        ("tests/clients", 10),
        ("scripts/bench/npm", 10),
        ("tests/functions/process_generation/catalogue", 1),
    ],
)
def test_so_has_every_javascript_package_of(folder, least):
    text = (PROJECT / folder / "package-lock.json").read_text()
    packages = json.loads(text)["packages"]
    assert len(packages) > least
    assert all(one["integrity"].startswith("sha512-") for name, one in packages.items() if name)
    assert "://" not in text
