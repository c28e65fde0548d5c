"""Makes the secrets of a compose installation, those that are not there yet: a folder for each service.

A service sees its own folder only, as a volume at /run/success, so that none can log in as another.
"""

from __future__ import annotations

import base64
import os
import secrets
import sys
from pathlib import Path

READER = 10001  # whom our services run as; Postgres reads its password as root
SERVER = "postgres:5432"
LOGINS = ("migrate", "worker", "deliver", "api")
KEYS_OF = {
    "worker": ("secret_key",),
    "deliver": ("secret_key",),
    "api": ("secret_key", "jwt_secret", "webhook_secret"),
}
MADE = {
    "secret_key": lambda: secrets.token_urlsafe(48),
    "jwt_secret": lambda: secrets.token_urlsafe(48),
    "webhook_secret": lambda: "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode(),
}


def make(root: Path) -> None:
    """Write each secret once; a second start changes none."""
    password = _kept(root / "postgres" / "password", secrets.token_urlsafe(32))
    _kept(root / "postgres" / "database_url", f"postgresql://postgres:{password}@{SERVER}/postgres")
    for service in LOGINS:
        login = "success_owner_login" if service == "migrate" else f"success_{service}_login"
        url = f"postgresql://{login}:{secrets.token_urlsafe(32)}@{SERVER}/success"
        _kept(root / service / "database_url", url)
    shared: dict[str, str] = {}
    for service, names in KEYS_OF.items():
        for name in names:
            shared[name] = _kept(root / service / name, shared.get(name) or MADE[name]())


def _kept(file: Path, text: str) -> str:
    file.parent.mkdir(exist_ok=True)
    if not file.exists():
        draft = file.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_text(text, encoding="utf-8")
        draft.chmod(0o400)
        if os.geteuid() == 0:
            os.chown(draft, READER, READER)
        draft.rename(file)
    return file.read_text(encoding="utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
