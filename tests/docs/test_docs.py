"""The documentation is true: what it names is there, what is generated is current, what can be run runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest
import yaml

from cli.main import COMMANDS, success
from runtime.settings import Settings, variable
from scoring.health.metrics import displayed, plain_level, total
from tests.cli.here import typed
from tests.docs import reference
from tests.store.databases import database_url, migrated_database

__all__ = ["database_url", "migrated_database"]

ROOT, DOCS = reference.ROOT, reference.DOCS
GENERATED = {"index.md", "commands.md", "endpoints.md"}
PAGES = {path.name: path.read_text("utf-8") for path in [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]}
WRITTEN = {name: text for name, text in PAGES.items() if name not in GENERATED}
STALE = "run `python -m tests.docs.reference`"


@pytest.mark.parametrize("name", reference.PAGES)
def test_what_is_generated_is_current(name: str) -> None:
    assert PAGES.get(name) == reference.PAGES[name](), STALE


@pytest.mark.stack
def test_the_columns_of_the_tables_are_current(database_url: str) -> None:
    assert PAGES["tables.md"] == reference.between(
        PAGES["tables.md"], "columns", reference.tables(database_url)
    ), STALE


def test_the_site_is_built_without_a_complaint(tmp_path: Path) -> None:
    config = (ROOT / "zensical.toml").read_text("utf-8")
    assert {name for name in PAGES if name != "README.md"} == set(re.findall(r'"([\w-]+\.md)"', config))
    shutil.copytree(DOCS, tmp_path / "docs")
    (tmp_path / "zensical.toml").write_text(config)
    zensical = Path(sys.executable).with_name("zensical")
    built = subprocess.run(
        [zensical, "build", "--strict"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"NO_COLOR": "1"},
    )
    assert built.returncode == 0, built.stdout + built.stderr
    page = (tmp_path / "build/site/scoring.html").read_text("utf-8")
    assert "<h2" in page
    loaded = re.findall(r'(?:src|href)="(https?://[^"]+)"[^>]*(?:rel="(?:stylesheet|preconnect)")?', page)
    assert not [
        url for url in loaded if urlsplit(url).hostname in {"fonts.googleapis.com", "fonts.gstatic.com"}
    ]


# names


def named_commands(text: str) -> Iterator[list[str]]:
    """Command lines of ours: in code spans, and lines of blocks."""
    spans = re.findall(r"`(success [^`]+)`", text)
    lines = re.findall(r"^(?:    |\$ )?(success [a-z][^\n]*)$", text, re.MULTILINE)
    for line in [*spans, *lines]:
        yield re.split(r"\s+#\s|\s+&?\s*$|\s[|>&]", line)[0].split()[1:]


def problem_with(words: list[str]) -> str | None:
    """What is wrong with a command line that a page names."""
    if words and words[0].startswith(("-", "COMMAND", "…")):
        return None
    name = words[0].rstrip(".,;:")
    if name not in COMMANDS:
        return f"there is no command {name}"
    command: click.Command | None = success.get_command(click.Context(success), name)
    rest = words[1:]
    while isinstance(command, click.Group) and rest and re.fullmatch(r"[a-z][a-z-]*", rest[0].rstrip(".,;:")):
        inner = command.get_command(click.Context(command), rest[0].rstrip(".,;:"))
        if inner is None:
            return f"{name} has no command {rest[0]}"
        command, rest = inner, rest[1:]
    assert command is not None
    known = {"--help", "--debug"} | {option for each in command.params for option in each.opts}
    if isinstance(command, click.Group):
        known |= {
            option
            for each in command.commands.values()
            for parameter in each.params
            for option in parameter.opts
        }
    given = [re.split(r"[=\].,;:)]", word)[0] for word in rest if word.startswith("--")]
    return next((f"{name} has no option {option}" for option in given if option not in known), None)


@pytest.mark.parametrize("name", WRITTEN)
def test_every_command_that_a_page_names_is_there_with_its_options(name: str) -> None:
    problems = {problem for words in named_commands(WRITTEN[name]) if (problem := problem_with(words))}
    assert problems == set()


def test_a_wrong_command_or_option_is_seen() -> None:
    assert problem_with(["replay", "--nonsense"]) == "replay has no option --nonsense"
    assert problem_with(["reply"]) == "there is no command reply"
    assert problem_with(["config", "chek"]) == "config has no command chek"
    assert list(named_commands("say `success run FILE`, or\n\n    success up   # starts\n")) == [
        ["run", "FILE"],
        ["up"],
    ]


OTHERS = {"SUCCESS_TEST_KAFKA", "SUCCESS_TEST_DATABASE_URL", "SUCCESS_LONG_TESTS", "SUCCESS_VERSION"}
"""Not of the services: of tests, and of the compose file."""


@pytest.mark.parametrize("name", WRITTEN)
def test_every_setting_that_a_page_names_is_there(name: str) -> None:
    known = {variable(field) for field in Settings.model_fields} | OTHERS
    found = set(re.findall(r"\bSUCCESS_[A-Z][A-Z_]*[A-Z]\b(?!_?[…*])", WRITTEN[name]))
    assert {each for each in found if each.removesuffix("_FILE") not in known} == set()


@pytest.mark.parametrize("name", WRITTEN)
def test_every_file_of_ours_that_a_page_names_is_there(name: str) -> None:
    folders = "agents|api|bench|cli|deploy|docs|embedded|examples|replay|runtime|scoring|store|tests|topics|templates"
    named = re.findall(rf"(?<![\w/-])((?:{folders})/[\w./*{{}},-]*[\w/*}}])", WRITTEN[name])
    missing = set()
    for path in named:
        plain = re.sub(r"\{[^}]*\}", "*", path)
        if "." not in plain.rpartition("/")[2] and not (ROOT / plain).exists() and "*" not in plain:
            continue  # a topic's or a route's name that begins like a folder
        if not list(ROOT.glob(plain)):
            missing.add(path)
    assert missing == set()


@pytest.mark.parametrize("name", WRITTEN)
def test_every_metric_that_a_page_names_is_there(name: str) -> None:
    from tests.deploy.test_metrics import known  # noqa: PLC0415

    found = set(re.findall(r"\bsuccess_[a-z_]+(?:_total|_seconds|_records_left|_bucket)\b", WRITTEN[name]))
    assert {each for each in found if each.removesuffix("_bucket") not in known()} == set()


@pytest.mark.parametrize("name", PAGES)
def test_the_docs_are_complete_by_themselves(name: str) -> None:
    assert re.findall(r"(?i)\bthe contract\b|\bspec\.md\b|\bcontract\.md\b|shared/", PAGES[name]) == []


def test_every_job_of_make_that_a_page_names_is_there() -> None:
    made = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for text in WRITTEN.values():
        assert set(re.findall(r"`make ([a-z-]+)`|^make ([a-z-]+)", text)) <= {(job, "") for job in made} | {
            ("", job) for job in made
        }


def test_links_within_the_readme_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", PAGES["README.md"]):
        assert (ROOT / target).exists(), target


# what it says


def test_the_formulas_example_is_what_the_code_works_out() -> None:
    points = (30.0, 0.75 * 25, 0.8 * 25, 0.75 * 10, 0.95 * 10)
    assert total(points) == 85.75
    assert displayed(total(points)) == 86
    assert "make 85.75, which is shown as 86" in " ".join(PAGES["scoring.md"].split())
    levels = [plain_level(at, 40, 70) for at in (39.999, 40, 69.999, 70)]
    assert levels == ["critical", "at_risk", "at_risk", "healthy"]
    shipped = tomllib.loads((ROOT / "scoring/rules.toml").read_text("utf-8"))["levels"]
    assert (shipped["at_risk"], shipped["healthy"], shipped["margin"]) == (40, 70, 3)


# what runs

PLAYED = "success run tests/cases/"
RUNS = re.compile(r"<!-- runs -->\n```sh\n(.*?)```", re.DOTALL)


def test_some_blocks_are_run() -> None:
    assert len([block for text in WRITTEN.values() for block in RUNS.findall(text)]) >= 3


@pytest.mark.stack
@pytest.mark.parametrize("name", [name for name, text in WRITTEN.items() if RUNS.search(text)])
def test_the_commands_of_a_page_run(
    name: str, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks marked so, line by line, in a folder with our examples, over topics with two months of the simulator's.

    `success run` is not among them: tests/cli/dev/run/test_summary.py runs the line of the README as a process.
    """
    for each in ("tests", "examples", "scoring"):
        (tmp_path / each).symlink_to(ROOT / each)
    monkeypatch.chdir(tmp_path)

    def run(line: str) -> None:
        done = typed(settings, line)
        assert done.code == 0, f"{line}\n{done.out[-500:]}{done.err[-2000:]}"

    run("success simulate --suppliers 20 --days 60 --out events.jsonl")
    run("success publish events.jsonl")
    first = json.loads((tmp_path / "events.jsonl").read_text("utf-8").partition("\n")[0])
    supplier = first["profile"]["id"] if "profile" in first else first["subject"]
    for block in RUNS.findall(WRITTEN[name]):
        for line in filter(None, (re.sub(r"\s+#.*$", "", each).strip() for each in block.splitlines())):
            if not line.startswith(PLAYED):
                run(re.sub(r"\bID\b", supplier, line))


def test_each_json_example_is_json() -> None:
    for text in WRITTEN.values():
        for block in re.findall(r"^```json\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            if "…" not in block:
                json.loads(block) if not block.lstrip().startswith("{}{") else None


def test_alerts_lead_to_their_page() -> None:
    rules = yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text("utf-8"))
    for group in rules["groups"]:
        for rule in group["rules"]:
            file, _, anchor = rule["annotations"]["runbook"].partition("#")
            headings = re.findall(r"^#+ (.+)$", (ROOT / file).read_text("utf-8"), re.MULTILINE)
            assert anchor in {heading.lower() for heading in headings}
