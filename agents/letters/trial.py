"""Every branch of every letter on generated suppliers: a slip of the pen in a branch that no sample reaches is found.

Templates are compiled with each of their conditions made visible. What the generated suppliers do not reach is then
forced: such a branch is wrong if it can be written for none of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, get_args

from jinja2 import TemplateError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from agents.letters.invitation import TEMPLATES as CALL_TEMPLATES
from agents.letters.invitation import variables as call_variables
from agents.letters.locales import BASE, is_installed
from agents.letters.render import FOLDERS, Letters
from agents.letters.sample import NOW, sample_call, sample_intervention, sample_supplier
from agents.letters.words import WHAT_TO_SAY, Spoken, Topic, in_app_words, spoken_words, variables
from runtime.configuration import OUR_TEMPLATES, Configuration, template_files
from runtime.settings import Settings
from scoring.advice.recommend import Recommendation
from scoring.decisions.experiments import template_file
from scoring.decisions.policy import Trigger
from scoring.time import DAY
from store.messages.delivery import Supplier
from topics.time import format_time

Branch = tuple[str, int, int]
"""(template, line, number of the condition in it)"""
Forced = dict[Branch, bool]
_BRANCH = "_branch"
_ADVICE = Recommendation(
    id="some",
    type="best_practice",
    title="A step",
    description="It helps.",
    action_text="Take it",
    action_path="/",
    points=10.0,
    minutes=5,
)
_MOST_FORCED = 2_000
_EVERY = 7
"""Of the kinds of suppliers so many are passed over, prime to how many there are of each: all values are met."""


class Trial:
    """The templates of a configuration, to be tried on suppliers of every kind.

    `only`: of these triggers alone, and nothing about calls (None: of all). A letter in another language is tried where
    it is not ours as it ships.
    """

    def __init__(
        self, configuration: Configuration, settings: Settings, only: Collection[str] | None = None
    ) -> None:
        self._configuration, self._settings, self._only = configuration, settings, only
        self._letters = Letters(
            configuration.templates,
            configuration.brand,
            _Watched,
            more={_BRANCH: self._pass},
            rules=configuration.rules,
        )
        self._own = template_files(configuration.templates)
        self._seen: dict[Branch, set[bool]] = {}
        self._forced: Forced = {}

    def complaints(self) -> list[str]:
        """What is wrong with the templates: file, line and what was met there; nothing if they are right."""
        found = {
            f"templates/{tag}: days and numbers in {tag} are not known here: is it a language of BCP 47, and was the "
            "image built with it (docs/running.md)?": None
            for tag in self._letters.languages
            if not is_installed(tag)
        }
        for trigger in self._configuration.policy.triggers:
            if self._only is not None and trigger.name not in self._only:
                continue
            variants: tuple[str | None, ...] = (None, *trigger.variants)
            for variant in variants:
                template = template_file(trigger.template, variant)
                for tag in (None, *self._languages_of(trigger.channel, template)):
                    samples = _advised(list(self._samples(trigger, template, tag)))
                    found |= dict.fromkeys(self._try(FOLDERS[trigger.channel], template, samples))
        for template in CALL_TEMPLATES if self._only is None else ():
            mail = sample_call(template, self._letters)
            mails = (mail, replace(mail, first_name=None), replace(mail, timezone="UTC"))
            samples = [call_variables(each, self._settings) for each in mails]
            found |= dict.fromkeys(self._try("email", template, samples))
        if self._only is None:
            folder, _, template = WHAT_TO_SAY.partition("/")
            for tag in (None, *self._languages_of("support_call", template)):
                found |= dict.fromkeys(self._try(folder, template, list(self._spoken(tag))))
        return list(found)

    def _spoken(self, tag: str | None) -> Iterator[dict[str, Any]]:
        """Of every kind of call, at the edges of what is counted."""
        voice = self._letters.voice(f"{WHAT_TO_SAY}.txt", tag)
        for about, count, named in product(get_args(Topic), (0, 1, 1200), (None, "Ana")):
            at = NOW - count * DAY if named else None
            step = _ADVICE if count else None
            spoken = Spoken(about, None, named, named, at, at, at, count, count, count, step)
            yield spoken_words(self._letters, voice, spoken, NOW)

    def _languages_of(self, channel: str, template: str) -> Iterator[str]:
        """Those in which this letter is not the one that ships."""
        files = [f"{FOLDERS[channel]}/{template}.{ending}" for ending in ("txt", "html")]
        for tag in self._letters.languages if channel != "in_app_notification" else ():
            if any(self._is_own(f"{tag}/{file}") for file in files):
                yield tag

    def _is_own(self, file: str) -> bool:
        path, ours = self._own.get(file), OUR_TEMPLATES / file
        return path is not None and not (ours.is_file() and path.read_bytes() == ours.read_bytes())

    def _samples(self, trigger: Trigger, template: str, tag: str | None) -> Iterator[dict[str, Any]]:
        features = [name for name, _ in self._configuration.rules.features]
        milestones = [on.partition(":")[2] for on in trigger.on if on.startswith("milestone:")]
        policy = self._configuration.policy.model_copy(update={"triggers": (trigger,)})
        for milestone in milestones or (None,):
            row = sample_intervention(trigger.template, policy, milestone)
            for number, supplier in enumerate(
                _suppliers(sample_supplier(None, policy, self._letters), features)
            ):
                if trigger.channel == "in_app_notification":
                    known = supplier.snapshot
                    yield in_app_words(supplier.first_name, supplier.vendor_type, known, self._letters)
                    continue
                there = row._replace(occurrence=1 + number % 4)
                theirs = replace(supplier, locale=tag or BASE)
                yield variables(theirs, there, NOW, self._settings, self._letters, template)

    def _try(self, folder: str, template: str, samples: Sequence[Mapping[str, Any]]) -> Iterator[str]:
        self._seen.clear()
        for sample in samples:
            if said := self._render(folder, template, sample, {}):
                yield said
                return
        waiting: list[tuple[Branch, bool, Forced]] = [
            (branch, not was, {}) for branch, was in self._half_seen()
        ]
        tried: set[tuple[Branch, bool]] = set()
        while waiting and len(tried) < _MOST_FORCED:
            branch, way, context = waiting.pop()
            if (branch, way) in tried:
                continue
            tried.add((branch, way))
            known = set(self._seen)
            forced: Forced = {**context, branch: way}
            complaints = [self._render(folder, template, sample, forced) for sample in samples]
            if all(complaints):
                yield str(complaints[0])
                return
            inside = set(self._seen) - known
            waiting += [(one, not was, forced) for one, was in self._half_seen() if one in inside]

    def _half_seen(self) -> list[tuple[Branch, bool]]:
        return [(branch, next(iter(ways))) for branch, ways in self._seen.items() if len(ways) == 1]

    def _render(self, folder: str, template: str, sample: Mapping[str, Any], forced: Forced) -> str | None:
        """What goes wrong, None if nothing does."""
        self._forced = forced
        try:
            if folder == "email":
                self._letters.page(template, sample)
            else:
                self._letters.text(f"{folder}/{template}", sample)
        except (TemplateError, TypeError, ValueError, LookupError, ArithmeticError) as error:
            return self._place(error)
        return None

    def _place(self, error: Exception) -> str:
        line = getattr(error, "lineno", None)
        if line is not None:
            return f"{getattr(error, 'filename', None) or getattr(error, 'name', '')}, line {line}: {error}"
        where, frame = "", error.__traceback__
        while frame is not None:
            known = frame.tb_frame.f_globals
            template = known.get("__jinja_template__")
            if template is not None:
                where = f"{template.filename}, line {template.get_corresponding_lineno(frame.tb_lineno)}: "
            elif "__jinja_exception__" in known:  # what the library has put in the place of its own frames
                where = f"{frame.tb_frame.f_code.co_filename}, line {frame.tb_lineno}: "
            frame = frame.tb_next
        return f"{where}{error or type(error).__name__}"

    def _pass(self, template: str, line: int, number: int, value: Any) -> bool:
        """A condition of a template is met: note it, or decide it otherwise."""
        branch = template, line, number
        said = bool(value)
        if branch in self._forced:
            return self._forced[branch]
        self._seen.setdefault(branch, set()).add(said)
        return said


class _Watched(ImmutableSandboxedEnvironment):
    """Compiles templates whose conditions go through `_branch`."""

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        _Watch(name or "").visit(tree)
        return tree


class _Watch(NodeTransformer):
    def __init__(self, name: str) -> None:
        self._name, self._number = name, 0

    def _watched(self, node: nodes.If | nodes.CondExpr) -> nodes.Node:
        self.generic_visit(node)
        if _asks_what_is_defined(node.test):
            return node  # what is not there can't be written, whatever is forced
        self._number += 1
        place = [nodes.Const(each, lineno=node.lineno) for each in (self._name, node.lineno, self._number)]
        name = nodes.Name(_BRANCH, "load", lineno=node.lineno)
        node.test = nodes.Call(name, [*place, node.test], [], None, None, lineno=node.lineno)
        return node

    visit_If = _watched  # noqa: N815 - the library's names
    visit_CondExpr = _watched  # noqa: N815


def _asks_what_is_defined(test: nodes.Node) -> bool:
    asked = [test] if isinstance(test, nodes.Test) else []
    return any(each.name in {"defined", "undefined"} for each in (*asked, *test.find_all(nodes.Test)))


def _advised(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same, and one with advice where the recommendations in force had none for anybody."""
    if any(sample.get("recommendation", _ADVICE) for sample in samples):
        return samples
    return [*samples, samples[-1] | {"recommendation": _ADVICE}]


def _suppliers(plain: Supplier, features: Sequence[str]) -> Iterator[Supplier]:
    """Suppliers of every kind that the templates tell apart."""
    kinds = list(product((0, 1), (0, 1, 4, 12), (0, 1, 3), (None, 0, 40), (0, 1)))
    for used, clients, forms, away, named in (kinds[-1], *kinds[::_EVERY]):
        last_login = None if away is None else NOW - away * DAY
        health = plain.facts.health and replace(
            plain.facts.health,
            features=frozenset(features if used else ()),
            known_clients=clients,
            forms_created=forms,
            last_login=last_login,
            level="healthy" if used and clients and forms else "critical" if not used else "at_risk",
        )
        snapshot = plain.snapshot | {
            "features": sorted(features) if used else [],
            "clients": {"known": clients, "active": clients // 2},
            "forms": {"created": forms, "sent": forms, "completed": forms // 2},
            "journeys": {"active": used * 2, "sent": used * 3, "opened": used},
            "last_goals": {}
            if not used or last_login is None
            else dict.fromkeys(
                ("form.completed", "payment.received", "client.active"), format_time(last_login + DAY)
            ),
        }
        yield replace(
            plain,
            facts=replace(plain.facts, health=health, zone="Europe/London" if named else None),
            first_name=plain.first_name if named else None,
            business_name=plain.business_name if named else None,
            vendor_type=plain.vendor_type if named else None,
            snapshot=snapshot,
        )
