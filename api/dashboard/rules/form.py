"""A draft as a form: the policy's numbers as fields, and what is typed into them as `NAME=VALUE` settings.

Pure: a policy's document makes the fields, a sent form makes the settings that `--set` of `success replay` and
`success config activate` take, and settings fill in the fields again.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from scoring.decisions.changing import OFF

TABLES = {
    "caps": "Messages to one supplier",
    "spacing": "Between two emails",
    "hours": "Hours",
    "holdout": "Comparison",
}
"""Tables of the policy that a draft is made of, and what stands above them."""
LABELS = {
    "caps.total": "At most",
    "caps.positive": "of these, positive",
    "caps.window": "within",
    "spacing.emails": "Any two",
    "spacing.celebrations": "Two celebrations",
    "spacing.after_rescue": "After a rescue email",
    "hours.from": "Emails leave from",
    "hours.until": "until",
    "hours.zone": "Without a known zone, in",
    "hours.celebrate_at_once": "A celebration goes at once within",
    "holdout.share": "Share who get nothing, 0 to 1",
}
_NO_NUMBERS = {"holdout.salt"}
OF_A_TRIGGER = {"delay": "Delay", "max": "Max", "within": "Within", "priority": "Priority"}
CHECKED = "on"
LISTED = "listed"
"""Name of the hidden fields that say which triggers a form had: an unticked box is not sent."""
LONGEST_VALUE = 64


class Field(NamedTuple):
    """A field: the setting's name, what it says in force, what the draft says."""

    name: str
    label: str
    in_force: str
    value: str

    @property
    def is_changed(self) -> bool:
        """Whether the draft says otherwise."""
        return self.value != self.in_force


class Group(NamedTuple):
    """Fields with a heading."""

    title: str
    fields: list[Field]


class TriggerRow(NamedTuple):
    """A trigger with its fields."""

    name: str
    is_on: bool
    fields: list[Field]


class Form(NamedTuple):
    """The whole draft."""

    groups: list[Group]
    triggers: list[TriggerRow]
    unknown: tuple[str, ...] = ()
    """Settings that no field is for."""

    def settings(self) -> list[str]:
        """What it says otherwise, as `--set` takes it."""
        found = [_setting(field) for group in self.groups for field in group.fields if field.is_changed]
        for trigger in self.triggers:
            if not trigger.is_on:
                found.append(f"trigger.{trigger.name}={OFF}")
            else:
                found += [_setting(field) for field in trigger.fields if field.is_changed]
        return found


def of_sent(document: Mapping[str, Any], sent: Iterable[tuple[str, str]]) -> Form:
    """A form as it was sent; fields that it lacks say what is in force."""
    values, listed = {}, set()
    for name, text in sent:
        if name == LISTED:
            listed.add(text)
        else:
            values[name] = " ".join(text.split())[:LONGEST_VALUE]
    off = {name for name in listed if f"trigger.{name}" not in values}
    return _form(document, values, off)


def of_settings(document: Mapping[str, Any], settings: Sequence[tuple[str, str]]) -> Form:
    """A form that these settings, (name, value), fill in."""
    values = {name: "" if name.endswith(".max") and text == OFF else text for name, text in settings}
    off = {name.removeprefix("trigger.") for name, text in settings if _is_trigger(name) and text == OFF}
    form = _form(document, values, off)
    known = {field.name for group in form.groups for field in group.fields}
    known |= {field.name for row in form.triggers for field in row.fields}
    known |= {f"trigger.{row.name}" for row in form.triggers if not row.is_on}
    return form._replace(unknown=tuple(name for name, _ in settings if name not in known))


def _form(document: Mapping[str, Any], values: Mapping[str, str], off: set[str]) -> Form:
    groups = [Group(title, _fields(document[table], table, values)) for table, title in TABLES.items()]
    triggers = [
        TriggerRow(
            trigger["name"],
            trigger["name"] not in off,
            [
                _field(f"trigger.{trigger['name']}.{key}", label, trigger.get(key), values)
                for key, label in OF_A_TRIGGER.items()
            ],
        )
        for trigger in sorted(document["trigger"], key=lambda one: -one["priority"])
    ]
    return Form(groups, triggers)


def _fields(table: Mapping[str, Any], prefix: str, values: Mapping[str, str]) -> list[Field]:
    """The numbers of a table, in the labels' order; what has no label comes last, under its own name."""
    said = {f"{prefix}.{key}": value for key, value in table.items() if not isinstance(value, list)}
    names = [name for name in LABELS if name in said] + [name for name in said if name not in LABELS]
    return [
        _field(name, LABELS.get(name, name.partition(".")[2].replace("_", " ")), said[name], values)
        for name in names
        if name not in _NO_NUMBERS
    ]


def _field(name: str, label: str, in_force: Any, values: Mapping[str, str]) -> Field:
    said = "" if in_force is None else str(in_force)
    return Field(name, label, said, values.get(name, said))


def _is_trigger(name: str) -> bool:
    return name.startswith("trigger.") and name.count(".") == 1


def _setting(field: Field) -> str:
    empty = OFF if field.name.endswith(".max") else ""
    return f"{field.name}={field.value or empty}"


def command(words: str, settings: Sequence[str]) -> str:
    """A command line with these settings, as a shell takes it."""
    return " ".join([words, *(f"--set {shlex.quote(setting)}" for setting in settings)])


def query(settings: Sequence[str]) -> str:
    """The same as an address's query."""
    return urlencode([("set", setting) for setting in settings])
