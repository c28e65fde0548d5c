"""Templates to words: Jinja2 in a sandbox, where an unknown variable is an error and HTML is escaped.

A template is a `.txt` file with the blocks `subject`, `preheader`, `why` and `body` (a letter, not stripped HTML), and
for email an `.html` file beside it, whose styles are inlined.
"""

from __future__ import annotations

import re
import textwrap
import tomllib
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import css_inline
from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    DictLoader,
    FileSystemLoader,
    StrictUndefined,
    TemplateNotFound,
    pass_context,
)
from jinja2.sandbox import ImmutableSandboxedEnvironment

import templates
from agents.letters import opening
from agents.letters.locales import BASE, Voice, is_same, lookup, voice_in
from agents.letters.places import Places
from runtime.configuration import BRAND, load, over, read_toml
from scoring.advice.book import FILES
from scoring.decisions.experiments import template_file
from scoring.health.rules import SHIPPED, Rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from jinja2.runtime import Context

    from runtime.configuration import Configuration
    from scoring.decisions.policy import Policy, Trigger

FOLDERS = {"email": "email", "in_app_notification": "in_app", "support_call": "tasks"}
"""Where the templates of each channel are."""
ROOT = Path(templates.__file__).parent
LINE = 72
READER = "sample.toml"
"""Whom letters are shown for when nobody is named."""
SPELLING = "spelling.toml"
"""Words that are spelled otherwise elsewhere in the same language: `spelled` in templates."""
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{1,8})*")
"""Names of folders of languages; no room of templates has so short a name."""
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


class TemplateMissingError(ValueError):
    """A template that the policy names does not exist; the message says which file to write."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """One message in words. `html` is empty outside email, `opening` where the text has none that can be changed."""

    subject: str
    preheader: str
    text: str
    html: str
    opening: str = ""


class Letters:
    """The templates in force: those of `words`, else of the first of `folders` that has one.

    `brand` is how they call the product. Below each folder lie those of other languages, in folders named by their
    tags (`de`, `en-US`), which come first for whoever reads them. A letter is in one language from its first word to
    its last.
    """

    def __init__(
        self,
        folders: Sequence[Path] = (ROOT,),
        brand: Mapping[str, str] | None = None,
        kind: type[ImmutableSandboxedEnvironment] = ImmutableSandboxedEnvironment,
        words: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
        rules: Rules = SHIPPED,
    ) -> None:
        """`kind` of environment, `more` that templates can call, and the `rules` whose advice goes with the words."""
        self.rules = rules
        self.folders = tuple(folders)
        self._words = dict(words or {})
        self.brand = dict(brand or load().brand)
        Places(self.brand)  # a path that can't be used is refused now
        self._kind, self._more = kind, dict(more or {})
        self._environments: dict[str, ImmutableSandboxedEnvironment] = {}
        self._places: dict[str, Places] = {}
        self._data: dict[tuple[str, str], dict[str, Any]] = {}

    @property
    def environment(self) -> ImmutableSandboxedEnvironment:
        """That of the templates outside the folders of languages."""
        return self.environment_of(BASE)

    def environment_of(self, language: str) -> ImmutableSandboxedEnvironment:
        """Where templates are looked for in this language, and then outside the folders of languages."""
        made = self._environments.get(language)
        if made is None:
            made = self._kind(
                loader=ChoiceLoader(list(self._loaders(language))),
                autoescape=lambda name: name is not None and name.endswith(".html"),
                undefined=StrictUndefined,
                trim_blocks=True,
                lstrip_blocks=True,
                keep_trailing_newline=False,
            )
            made.filters["of"] = counted
            made.filters["number"] = numbered
            made.filters["word"] = in_words
            made.globals |= self._more
            made.globals["spelled"] = self.data(SPELLING, language)
            made.globals["brand"] = self.brand_in(language)
            self._environments[language] = made
        return made

    def brand_in(self, tag: str | None) -> dict[str, Any]:
        """How the product is called for a tag."""
        return self.brand | self._read(BRAND, self._known(tag))

    def places(self, app_url: str) -> Places:
        """Where the pages of the product at this address are."""
        made = self._places.get(app_url)
        if made is None:
            made = self._places[app_url] = Places(self.brand, app_url)
        return made

    def voice(self, file: str, tag: str | None) -> Voice:
        """The language in which somebody with this tag reads a template (`email/quick_win.txt`).

        That is the first in which it is there; and of the same language the most particular, which may say parts and
        single words of it otherwise.
        """
        known = self._known(tag)
        there = next((each for each in known if self._has_in(each, file)), BASE)
        return voice_in(next((each for each in known if is_same(each, there)), there), tag)

    def data(self, name: str, tag: str) -> dict[str, Any]:
        """Words of a data file (`vendors.toml`) for a tag: what ships, and what is said otherwise in its language."""
        key = name, tag
        if key not in self._data:
            said = {} if name in FILES else self._read(name, [""])  # advice is read with its rules
            theirs = self._read(name, self._known(tag))
            # Another language says a table whole, lest half of it be English.
            self._data[key] = over(said, theirs) if is_same(tag, BASE) else said | theirs
        return self._data[key]

    def _read(self, name: str, tags: Sequence[str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for tag in reversed(tags):
            file = f"{tag}/{name}" if tag else name
            if file in self._words:
                found = over(found, tomllib.loads(self._words[file]))
                continue
            for path in (folder / file for folder in reversed(self.folders)):
                found = over(found, read_toml(path)) if path.is_file() else found
        return found

    def _loaders(self, language: str) -> Iterator[BaseLoader]:
        """Where a template is looked for, the first place first."""
        yield DictLoader(opening.STAND_IN)
        for tag in (*self._known(language), ""):
            below = f"{tag}/" if tag else ""
            stored = {
                name.removeprefix(below): text for name, text in self._words.items() if name.startswith(below)
            }
            yield DictLoader(stored)
            yield FileSystemLoader([folder / tag for folder in self.folders])

    def _known(self, tag: str | None) -> list[str]:
        """The folders of languages for this tag, the most particular first."""
        by_name = {each.lower(): each for each in self.languages}
        return [by_name[each.lower()] for each in lookup(tag) if each.lower() in by_name]

    @cached_property
    def languages(self) -> tuple[str, ...]:
        """The tags for which there are templates, apart from those outside their folders."""
        named = {name.partition("/")[0] for name in self._words if "/" in name}
        if not self._words:  # else what is in force is in them, whatever a newer release of ours has besides
            named = {path.name for folder in self.folders for path in folder.iterdir() if path.is_dir()}
        return tuple(sorted(filter(_LANGUAGE.fullmatch, named)))

    def _has_in(self, language: str, file: str) -> bool:
        return self.has(f"{language}/{file}")

    @classmethod
    def of(cls, configuration: Configuration) -> Letters:
        """Those of a configuration."""
        return cls(
            configuration.templates, configuration.brand, words=configuration.words, rules=configuration.rules
        )

    def has(self, file: str) -> bool:
        """Whether there is a template of this name (`email/quick_win.html`)."""
        return file in self._words or any((folder / file).is_file() for folder in self.folders)

    def check(self, policy: Policy) -> None:
        """Make sure that every trigger's template exists; TemplateMissingError says which does not."""
        for trigger in policy.triggers:
            for file in _files(trigger):
                if not self.has(file):
                    raise TemplateMissingError(
                        f"trigger {trigger.name!r}, field 'template': there is no templates/{file}"
                    )

    def email(self, template: str, variables: Mapping[str, Any]) -> Rendered:
        """Render an email: its subject, preheader, text and HTML.

        Where `variables` have an `opening`, it stands where the letter's own would; NoOpeningError if it has none.
        """
        rendered = self.page(template, variables)
        return replace(rendered, html=_inliner().inline(rendered.html))

    def page(self, template: str, variables: Mapping[str, Any]) -> Rendered:
        """The same, its styles as they are written."""
        rendered = self.text(f"email/{template}", variables)
        head = {"subject": rendered.subject, "preheader": rendered.preheader}
        html, _ = self._written(f"email/{template}.html", {**variables, **head})
        return replace(rendered, html=html)

    def text(self, path: str, variables: Mapping[str, Any]) -> Rendered:
        """Render a text template (`in_app/welcome`, `tasks/call_offer`): a subject line and a body."""
        text, context = self._written(f"{path}.txt", variables)

        def block(name: str) -> str:
            blocks = context.blocks.get(name)
            return "".join(blocks[0](context)) if blocks else ""

        def line(name: str) -> str:
            return " ".join(block(name).split())

        return Rendered(
            line("subject"), line("preheader"), _letter(text), "", opening.cleaned(block(opening.BLOCK))
        )

    def _written(self, file: str, variables: Mapping[str, Any]) -> tuple[str, Context]:
        """What a template says, and where its blocks are, those of what it extends too."""
        environment, known = self.environment_of(variables.get("language", BASE)), dict(variables)
        template = environment.get_template(file)
        own, said = known.get("opening"), []
        if own:

            def say() -> str:
                said.append(own)
                return opening.in_html(own) if file.endswith(".html") else f"{own}\n"

            known |= {"opened": template, "say_opening": say}
            template = environment.get_template(f"_opened{Path(file).suffix}")
        context = template.new_context(known)
        text = "".join(template.root_render_func(context))  # which also gathers the blocks of what it extends
        if own and not said:
            raise opening.NoOpeningError(f"templates/{file} shows no opening: it needs a block of that name")
        return text, context


@cache
def ours() -> Letters:
    """The templates that ship."""
    return Letters()


def check_templates(policy: Policy) -> None:
    """`Letters.check` of ours."""
    ours().check(policy)


def render_email(template: str, variables: Mapping[str, Any]) -> Rendered:
    """`Letters.email` of ours."""
    return ours().email(template, variables)


def render_text(path: str, variables: Mapping[str, Any]) -> Rendered:
    """`Letters.text` of ours."""
    return ours().text(path, variables)


def email_templates() -> list[str]:
    """Name the email templates that exist, variants left out."""
    return sorted(path.stem for path in (ROOT / "email").glob("[!_]*.html") if "." not in path.stem)


def _files(trigger: Trigger) -> Iterable[str]:
    for variant in (None, *trigger.variants):
        path = f"{FOLDERS[trigger.channel]}/{template_file(trigger.template, variant)}"
        yield f"{path}.txt"
        if trigger.channel == "email":
            yield f"{path}.html"


@cache
def _inliner() -> css_inline.CSSInliner:
    return css_inline.CSSInliner(load_remote_stylesheets=False)


@pass_context
def counted(context: Context | Mapping[str, Any], number: int, noun: str, plural: str | None = None) -> str:
    """Put a number and its noun together as their language writes it: `1 client`, `1,200 clients`."""
    said = context.get("voice", Voice()).number(number)
    return f"{said} {noun}" if number == 1 else f"{said} {plural or noun + 's'}"


@pass_context
def numbered(context: Context | Mapping[str, Any], number: float) -> str:
    """Write a number as their language does."""
    said: str = context.get("voice", Voice()).number(number)
    return said


@pass_context
def in_words(context: Context | Mapping[str, Any], number: int) -> str:
    """Write a small number as an English word."""
    return _NUMBERS[number] if 0 <= number < len(_NUMBERS) else numbered(context, number)


def _letter(text: str) -> str:
    """Wrap paragraphs as a letter; lines with an address stay whole, so that they can be clicked."""
    lines = (line.strip() for line in text.strip().splitlines())
    wrapped = (line if "://" in line else _wrap(line) for line in lines)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(wrapped)) + "\n"


def _wrap(line: str) -> str:
    if len(line) <= LINE and line.isprintable():
        return line
    hanging = "  " if line.startswith("- ") else "   " if re.match(r"\d\. ", line) else ""
    return textwrap.fill(
        line, LINE, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False
    )


__all__ = [
    "Letters",
    "Rendered",
    "TemplateMissingError",
    "TemplateNotFound",
    "check_templates",
    "ours",
    "render_email",
    "render_text",
]
