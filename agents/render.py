"""Templates to words: Jinja2 in a sandbox, where an unknown variable is an error and HTML is escaped.

A template is a `.txt` file with the blocks `subject`, `preheader`, `why` and `body` (a letter, not stripped HTML), and
for email an `.html` file beside it, whose styles are inlined.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import css_inline
from jinja2 import FileSystemLoader, StrictUndefined, TemplateNotFound
from jinja2.sandbox import ImmutableSandboxedEnvironment

import templates
from scoring.experiments import template_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from scoring.policy import Policy, Trigger

FOLDERS = {"email": "email", "in_app_notification": "in_app", "support_call": "tasks"}
"""Where the templates of each channel are."""
ROOT = Path(templates.__file__).parent
LINE = 72
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


class TemplateMissingError(ValueError):
    """A template that the policy names does not exist; the message says which file to write."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """One message in words. `html` is empty outside email."""

    subject: str
    preheader: str
    text: str
    html: str


def check_templates(policy: Policy) -> None:
    """Make sure that every trigger's template exists; TemplateMissingError says which does not."""
    for trigger in policy.triggers:
        for file in _files(trigger):
            if not (ROOT / file).is_file():
                raise TemplateMissingError(
                    f"trigger {trigger.name!r}, field 'template': there is no templates/{file}"
                )


def render_email(template: str, variables: Mapping[str, Any]) -> Rendered:
    """Render an email: its subject, preheader, text and HTML."""
    rendered = render_text(f"email/{template}", variables)
    page = _environment().get_template(f"email/{template}.html")
    html = page.render(**variables, subject=rendered.subject, preheader=rendered.preheader)
    return Rendered(rendered.subject, rendered.preheader, rendered.text, _inliner().inline(html))


def render_text(path: str, variables: Mapping[str, Any]) -> Rendered:
    """Render a text template (`in_app/welcome`, `tasks/call_offer`): a subject line and a body."""
    template = _environment().get_template(f"{path}.txt")
    context = template.new_context(dict(variables))
    text = "".join(template.root_render_func(context))  # which also gathers the blocks of what it extends

    def block(name: str) -> str:
        blocks = context.blocks.get(name)
        return " ".join("".join(blocks[0](context)).split()) if blocks else ""

    return Rendered(block("subject"), block("preheader"), _letter(text), "")


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
def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(ROOT),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
    )
    environment.filters["of"] = counted
    environment.filters["word"] = in_words
    return environment


@cache
def _inliner() -> css_inline.CSSInliner:
    return css_inline.CSSInliner(load_remote_stylesheets=False)


def counted(number: int, noun: str) -> str:
    """Put a number and its noun together: `1 client`, `5 clients`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def in_words(number: int) -> str:
    """Write a small number as a word."""
    return _NUMBERS[number] if 0 <= number < len(_NUMBERS) else str(number)


def _letter(text: str) -> str:
    """Wrap paragraphs as a letter; lines with an address stay whole, so that they can be clicked."""
    lines = (line.strip() for line in text.strip().splitlines())
    wrapped = (line if "://" in line else _wrap(line) for line in lines)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(wrapped)) + "\n"


def _wrap(line: str) -> str:
    hanging = "  " if line.startswith("- ") else "   " if re.match(r"\d\. ", line) else ""
    return textwrap.fill(
        line, LINE, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False
    )


__all__ = [
    "Rendered",
    "TemplateMissingError",
    "TemplateNotFound",
    "check_templates",
    "render_email",
    "render_text",
]
