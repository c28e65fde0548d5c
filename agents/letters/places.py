"""Where buttons lead: the product's own pages, as `brand.toml` places them below `SUCCESS_APP_URL`.

Templates and data files name a page by the path that ships (`/clients/import`); a brand that keeps that page elsewhere
says so once. Pure.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from runtime.configuration import BRAND, ConfigurationError, our_brand

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "path_"
_SUPPLIER = "{supplier}"
_BRACES = re.compile(r"\{[^}]*\}?|\}")
_ODD = re.compile(r"[\s\"'<>\\\x00-\x1f]")


class Places:
    """The addresses of a product's pages; ConfigurationError for a brand whose paths can't be used."""

    def __init__(self, brand: Mapping[str, str], app_url: str = "") -> None:
        self._app = app_url.rstrip("/")
        self._of = {path: brand.get(name, path) for name, path in shipped().items()}
        for name in shipped():
            _check(name, brand.get(name, "/"))

    def address(self, path: str, supplier_id: str = "") -> str:
        """The address of a page by the path that ships; what is an address already stays one."""
        if urlsplit(path).scheme:
            return path
        placed = self._of.get(path, path).replace(_SUPPLIER, quote(supplier_id))
        return placed if urlsplit(placed).scheme else self._app + placed


@cache
def shipped() -> dict[str, str]:
    """Name in `brand.toml` -> path, as they ship."""
    return {name: path for name, path in our_brand().items() if name.startswith(PREFIX)}


def _check(name: str, path: str) -> None:
    parts = urlsplit(path)
    is_path = path.startswith("/") and not path.startswith("//")
    is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and "@" not in parts.netloc
    odd = [each for each in _BRACES.findall(path) if each != _SUPPLIER]
    if odd or _ODD.search(path) or not (is_path or is_address):
        raise ConfigurationError(
            f"{BRAND}, {name} = {path!r}: give a path such as /clients/import, or an https:// address; "
            f"{_SUPPLIER} stands for the supplier's id"
        )
