"""A version of the configuration as documents: complete, so that a later release of ours changes nothing in it.

`record` is what the topic `success.rules` carries of it, `files` what only Postgres holds: words and names.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from runtime.configuration import OUR_TEMPLATES, Configuration, our_brand, texts_of
from scoring.advice.book import FILES, decides
from scoring.decisions.policy import Policy
from scoring.health.churn import ChurnModel
from scoring.health.rules import Rules
from scoring.health.rules_file import RulesFile, document_of

SHIPPED = 0
"""The number of what is in force before anything was activated."""
_WORDS_OF_MESSAGES = re.compile(r"([a-z]{2,3}(-[A-Za-z0-9]{1,8})*/)?(email/|in_app/|tasks/|_|[a-z_]+\.toml$)")
"""What templates of messages, and words as data, begin with, in any language; pages and the dashboard come with the
program."""


@dataclass(frozen=True)
class Version:
    """What scoring and decisions need of a version; no personal data, and no words."""

    number: int
    digest: str
    rules: dict[str, Any]
    policy: dict[str, Any]
    churn: dict[str, Any] | None = None
    advice: dict[str, Any] | None = None
    """What of the advice decisions go by; None: what ships."""
    partitions: tuple[int, ...] | None = None
    """On which it is in force; None: on all."""
    at: str = ""
    """When it was activated, RFC 3339."""

    def is_on(self, partition: int) -> bool:
        """Whether this partition is to go over to it."""
        return self.partitions is None or partition in self.partitions

    def compiled(self, advice: dict[str, Any] | None = None) -> Policy:
        """Its policy, with its rules; `advice`: with all its words."""
        churn = None if self.churn is None else msgspec.convert(self.churn, ChurnModel)
        rules = Rules(
            RulesFile.model_validate(self.rules),
            f"version {self.number}",
            self.number,
            churn,
            advice=advice or self.advice,
        )
        return Policy.parse(self.policy, f"version {self.number}", rules)

    def record(self) -> bytes:
        """As it stands on the topic."""
        said = {
            "version": self.number,
            "digest": self.digest,
            "at": self.at,
            "partitions": self.partitions,
            "rules": self.rules,
            "policy": self.policy,
            "churn": self.churn,
            "advice": self.advice,
        }
        return msgspec.json.encode(said)


@dataclass(frozen=True)
class Words:
    """What of a version only Postgres holds: template name -> text, and what the product is called."""

    templates: dict[str, str] = field(default_factory=dict)
    brand: dict[str, str] = field(default_factory=dict)


def version_of(configuration: Configuration, number: int, at: str) -> Version:
    """A configuration as a version of this number."""
    rules = configuration.rules
    return Version(
        number,
        configuration.digest,
        document_of(rules.file),
        configuration.policy.document(),
        None if rules.churn is None else msgspec.to_builtins(rules.churn),
        decides(rules.advice),
        at=at,
    )


def words_of(configuration: Configuration) -> Words:
    """All words of messages, ours written out, as they stand in a configuration's folders."""
    messages = {
        name: text for name, text in texts_of(configuration).items() if _WORDS_OF_MESSAGES.match(name)
    }
    return Words(messages, dict(configuration.brand))


def configuration_of(version: Version, words: Words) -> Configuration:
    """The configuration that a version is."""
    return Configuration(
        version.compiled(advice_of(words)),
        (OUR_TEMPLATES,),
        {**our_brand(), **words.brand},  # what a release of ours has besides
        {},
        words.templates,
        version.number,
        version.digest,
    )


def advice_of(words: Words) -> dict[str, Any]:
    """The files of advice among the words of a version; none in one that was stored before they were kept."""
    return {name: tomllib.loads(words.templates[name]) for name in FILES if name in words.templates}


def whole(configuration: Configuration) -> Configuration:
    """A configuration of files as if it had been stored: what it is made of can change, it does not."""
    return configuration_of(version_of(configuration, SHIPPED, ""), words_of(configuration))


def documents(version: Version, words: Words) -> dict[str, Any]:
    """All that a version says, as `differences` compares it."""
    return {
        "rules": version.rules,
        "policy": version.policy,
        "churn": version.churn or {},
        "brand": words.brand,
        "templates": words.templates,
    }


def documents_of(configuration: Configuration) -> dict[str, Any]:
    """The same of a configuration of files."""
    return documents(version_of(configuration, SHIPPED, ""), words_of(configuration))


def with_partitions(version: Version, partitions: tuple[int, ...] | None) -> Version:
    """The same, in force there only."""
    return replace(version, partitions=partitions)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """(place, old value, new value) of whatever two documents say otherwise; None where one says nothing.

    Entries of lists are told apart by their `name`, `type` or place.
    """
    before, after = dict(_flat(old, "")), dict(_flat(new, ""))
    for place in dict.fromkeys((*before, *after)):
        if before.get(place) != after.get(place):
            yield place, before.get(place), after.get(place)


def _flat(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from _flat(each, f"{place}.{name}" if place else str(name))
    elif isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
        for number, each in enumerate(value):
            name = each.get("name") or each.get("type") or each.get("below") or number
            yield from _flat(each, f"{place}[{name}]")
    else:
        yield place, value
