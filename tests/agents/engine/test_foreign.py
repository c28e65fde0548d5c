"""What we take of Faust, mode and aiokafka beyond their public interface is as it was: releases say here what broke.

Two tables: methods that a class of ours overrides, with the signatures they were written against, and private
attributes that ours use. Both are compared with what the code does, so that a new override or use has to be entered.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
FOREIGN = ("faust", "mode", "aiokafka")
MODULES = tuple(
    f"agents.{room}.{path.stem}"
    for room in ("engine", "cluster")
    for path in sorted((ROOT / "agents" / room).glob("*.py"))
    if path.stem != "__init__"
)
PRODUCT = ("agents", "api", "cli", "replay", "runtime", "store")

OVERRIDDEN = {
    "BatchApp._create_directories": "(self)",
    "ClientCredentials.token": "async (self)",
    "Records._consumer_record": "(self, tp, record)",
    "Records._unpack_records": "(self)",
    "PartitionRecovery._build_offsets": "async (self, consumer, tps, destination, title)",
    "PartitionRecovery._wait": "async (self, coro, timeout=None)",
    "PartitionTables.recovery": "property",
    "LeaveAsStaticMember.build": "(self, request_struct_class)",
    "RawSchema.loads_key": "(self, app, message, *, loads=None, serializer=None)",
    "RawSchema.loads_value": "(self, app, message, *, loads=None, serializer=None)",
    "PartitionStore.apply_changelog_batch": "(self, batch, to_key, to_value)",
    "PartitionStore.on_rebalance": "async (self, assigned, revoked, newly_assigned, generation_id=0)",
    "PartitionStore.on_recovery_completed": "async (self, active_tps, standby_tps)",
    "PartitionStore.persisted_offset": "(self, tp)",
    "PartitionStore.clear": "(self)",
    "PartitionStore.reset_state": "(self)",
    "PartitionStore.backup_partition": "async (self, tp, flush=True, purge=False, keep=1)",
    "PartitionStore.restore_backup": "(self, tp, latest=True, backup_id=0)",
    "BatchConsumerThread._create_worker_consumer": "(self, transport)",
    "BatchConsumerThread._fetch_records": (
        "async (self, consumer, active_partitions, timeout=None, max_records=None)"
    ),
    "BatchConsumerThread._log_slow_processing": "(self, msg, *args, causes, setting, current_value)",
    "BatchConsumerThread.on_thread_stop": "async (self)",
    "BatchConsumer._new_consumer_thread": "(self)",
    "BatchConsumer.create_topic": (
        "async (self, topic, partitions, replication, *, config=None, timeout=30.0, "
        "retention=None, compacting=None, deleting=None, ensure_created=False)"
    ),
    "BatchConsumer.stop_flow": "(self)",
    "BatchConsumer.wait_empty": "async (self)",
    "BatchConsumer.on_partitions_assigned": "async (self, assigned, generation_id=0)",
    "BatchConsumer.threadsafe_partitions_revoked": "async (self, receiver_loop, revoked)",
    "BatchConsumer.threadsafe_partitions_assigned": "async (self, receiver_loop, assigned, generation_id=0)",
    "BatchConsumer.perform_seek": "async (self)",
    "BatchConsumer.seek_wait": "async (self, partitions)",
    "BatchConsumer._getmany": "async (self, active_partitions, timeout)",
    "BatchConsumer.getmany": "async generator (self, timeout)",
    "BatchConsumer._add_gap": "async (self, tp, offset_from, offset_to)",
    "BatchConsumer._new_offset": "(self, tp)",
    "BatchTransport.Consumer": "(*args, **kwargs)",
    "_Id.encode": "(cls, value)",
    "_Id.decode": "(cls, data)",
    "Describe.build": "(self, request_struct_class)",
}

PRIVATE = {
    "mode.services.Service": {"_crashed", "_crash_reason"},
    "aiokafka.consumer.consumer.AIOKafkaConsumer": {
        "_client",
        "_coordinator",
        "_fetch_max_wait_ms",
        "_isolation_level",
        "_key_deserializer",
        "_subscription",
    },
    "aiokafka.protocol.fetch.FetchRequest": {"_topics"},
    "aiokafka.producer.producer.AIOKafkaProducer": {"_sender"},
    "aiokafka.consumer.group_coordinator.GroupCoordinator": {"_group_instance_id", "_send_req"},
    "aiokafka.admin.client.AIOKafkaAdminClient": {"_send_request"},
}
"""Class → attributes that ours read or set on its objects from outside."""
OF_PYTHON = {"_replace", "_asdict", "_fields", "_exit"}
"""Names with an underscore that Python documents."""


def load(dotted: str) -> Any:
    """A class by its full name."""
    module, _, name = dotted.rpartition(".")
    return getattr(importlib.import_module(module), name)


def classes(module: ModuleType) -> Iterator[type]:
    """Those that a module of ours defines upon a foreign one."""
    for each in vars(module).values():
        if isinstance(each, type) and each.__module__ == module.__name__ and foreign_bases(each):
            yield each


def foreign_bases(cls: type) -> list[type]:
    return [base for base in cls.__mro__ if base.__module__.partition(".")[0] in FOREIGN]


def overridden() -> dict[str, str]:
    """`Class.method` of ours → the signature of what it overrides."""
    found = {}
    for name in MODULES:
        for cls in classes(importlib.import_module(name)):
            for attribute, value in vars(cls).items():
                if not callable(inspect.unwrap(getattr(value, "fget", None) or value)):
                    continue
                for base in foreign_bases(cls):
                    if attribute in vars(base) and not attribute.startswith("__"):
                        found[f"{cls.__name__}.{attribute}"] = signature(vars(base)[attribute])
                        break
    return found


def signature(member: Any) -> str:
    """Names, kinds and defaults of the parameters, and how it is called; annotations may change."""
    if isinstance(member, property):
        return "property"
    member = inspect.unwrap(getattr(member, "__func__", member))
    plain = [each.replace(annotation=each.empty) for each in inspect.signature(member).parameters.values()]
    text = str(inspect.Signature(plain))
    if inspect.iscoroutinefunction(member):
        return f"async {text}"
    return f"async generator {text}" if inspect.isasyncgenfunction(member) else text


def test_what_we_override_has_the_signature_that_it_was_written_against() -> None:
    now = overridden()
    changed = [
        f"{name}: overrides {now.get(name, 'nothing: it is gone')}, was written against {wanted}"
        for name, wanted in OVERRIDDEN.items()
        if now.get(name) != wanted
    ]
    assert not changed, "\n".join(changed)
    assert not now.keys() - OVERRIDDEN.keys(), "enter what is overridden now as well"


@cache
def private_uses() -> dict[str, list[str]]:
    """Attributes with an underscore of anything but `self`, in the product; where."""
    found: dict[str, list[str]] = {}
    for package in PRODUCT:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Attribute) or not re.match("_[^_]", node.attr):
                    continue
                if ast.unparse(node.value) not in {"self", "cls", "super()"}:
                    found.setdefault(node.attr, []).append(f"{path.relative_to(ROOT)}:{node.lineno}")
    return {name: places for name, places in found.items() if name not in OF_PYTHON}


def defines(cls: type, attribute: str) -> bool:
    """Whether a class or one of its foreign bases assigns or defines it."""
    return any(attribute in names_in(base.__module__).get(base.__name__, ()) for base in foreign_bases(cls))


@cache
def names_in(module: str) -> dict[str, set[str]]:
    """Class of a module → what it defines, declares, or assigns to `self`."""
    tree = ast.parse(inspect.getsource(importlib.import_module(module)))
    return {node.name: set(names_of(node)) for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}


def names_of(tree: ast.ClassDef) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


@pytest.mark.parametrize("owner", PRIVATE)
def test_private_attributes_that_we_use_are_there(owner: str) -> None:
    gone = [name for name in sorted(PRIVATE[owner]) if not defines(load(owner), name)]
    assert not gone, (
        f"{owner} has no {', '.join(gone)} any more; used at {[private_uses().get(n) for n in gone]}"
    )


def test_every_private_attribute_that_we_use_is_entered() -> None:
    entered = set().union(*PRIVATE.values())
    assert {name: places for name, places in private_uses().items() if name not in entered} == {}
    assert entered - private_uses().keys() == set()


@cache
def inherited_uses() -> dict[str, tuple[type, set[str]]]:
    """Class of ours → the attributes of `self` that it uses and does not define itself."""
    found = {}
    for name in MODULES:
        module = importlib.import_module(name)
        trees = {
            node.name: node
            for node in ast.walk(ast.parse(inspect.getsource(module)))
            if isinstance(node, ast.ClassDef)
        }
        for cls in classes(module):
            used = {
                node.attr
                for node in ast.walk(trees[cls.__name__])
                if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self"
            }
            found[cls.__name__] = (cls, used - set(names_of(trees[cls.__name__])))
    return found


@pytest.mark.parametrize("name", [name for name, (_, used) in inherited_uses().items() if used])
def test_what_a_class_of_ours_inherits_and_uses_is_there(name: str) -> None:
    cls, used = inherited_uses()[name]
    gone = [
        attribute for attribute in sorted(used) if not hasattr(cls, attribute) and not defines(cls, attribute)
    ]
    assert not gone, f"{name} uses {', '.join(gone)} of its bases, which have no such thing any more"
