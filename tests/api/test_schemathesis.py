"""schemathesis over the OpenAPI document, against the real API: what is documented is what happens.

It runs as anybody would run it, with the repository's `schemathesis.toml` and, below it, addresses of things that are
there. Deterministic: the same requests every time.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest

from agents.letters.links import sign, sign_click
from api.tokens import Role
from runtime.settings import Settings
from tests.api.test_every_endpoint import Server, Supplier
from tests.forms import LONG

CONFIG = Path("schemathesis.toml")
EXAMPLES = 100 if LONG else 8
LONGEST_S = 1_700 if LONG else 240

pytestmark = [pytest.mark.stack, pytest.mark.timeout(LONGEST_S + 60)]


def config_of(server: Server, known: Supplier) -> str:
    """The repository's configuration, and a supplier, their call and links that are known."""
    gone = server.supplier()
    key = server.settings.secret("secret_key")
    message = str(UUID(int=7))
    of_links = "".join(
        f"""
[[operations]]
include-path = "/e/{action}/{{token}}{ending}"
parameters = {{ "path.token" = "{token}" }}
"""
        for action, ending, token in (
            ("open", ".gif", sign("open", known.id, message, key)),
            ("click", "", sign_click("https://app.example/forms", known.id, message, key)),
            ("unsubscribe", "", sign("unsubscribe", known.id, message, key)),
            ("preferences", "", sign("preferences", known.id, message, key)),
        )
    )
    return f"""
{CONFIG.read_text()}
[[operations]]
include-method = "DELETE"
parameters = {{ "path.supplierId" = "{gone.id}" }}
{of_links}
[parameters]
"path.supplierId" = "{known.id}"
"path.id" = "{known.call}"
"""


def schemathesis(server: Server, config: Path, authorization: dict[str, str], *more: str) -> str:
    """Run it; what it says, once it has found nothing."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        f"--config-file={config}",
        "--no-color",
        "run",
        f"{server.client.base_url}/openapi.json".replace("//openapi", "/openapi"),
        f"--header=Authorization: {authorization['Authorization']}",
        f"--max-examples={EXAMPLES}",
        "--generation-deterministic",
        "--continue-on-failure",
        "--phases=examples,coverage,fuzzing",
        *more,
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=LONGEST_S, check=False, cwd=config.parent
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_finds_nothing(served: str, served_settings: Settings, tmp_path: Path) -> None:
    server = Server(served, served_settings)
    config = tmp_path / "schemathesis.toml"
    config.write_text(config_of(server, server.supplier()))
    said = schemathesis(server, config, server.token("service"))
    counted = re.search(r"(\d+) selected / (\d+) total", said)
    assert counted is not None, said
    selected, total = map(int, counted.groups())
    assert selected == total - 1  # all but the stream that never ends


def test_it_finds_nothing_as_a_supplier(served: str, served_settings: Settings, tmp_path: Path) -> None:
    """Only they themselves say what they did in the coach."""
    server = Server(served, served_settings)
    known = server.supplier()
    config = tmp_path / "schemathesis.toml"
    config.write_text(f'{CONFIG.read_text()}\n[parameters]\n"path.supplierId" = "{known.id}"\n')
    token = server.token("supplier", known.id)
    said = schemathesis(server, config, token, "--include-path-regex=^/api/(coach|health/score)/")
    assert "4 selected" in said


@pytest.mark.long
@pytest.mark.parametrize("role", ["supplier", "agent"])
def test_it_finds_nothing_with_the_tokens_of_others_either(
    served: str, served_settings: Settings, tmp_path: Path, role: Role
) -> None:
    """Everything is asked for; what is not theirs is refused as it is documented."""
    server = Server(served, served_settings)
    config = tmp_path / "schemathesis.toml"
    known = server.supplier()
    config.write_text(config_of(server, known))
    token = server.token(role, known.id if role == "supplier" else "")
    said = schemathesis(server, config, token, "--exclude-checks=positive_data_acceptance")
    counted = re.search(r"(\d+) selected / (\d+) total", said)
    assert counted is not None, said
    assert int(counted[1]) == int(counted[2]) - 1
