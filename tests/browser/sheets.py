"""The pictures that the browser tests kept, laid side by side, to be looked at.

`python -m tests.browser.sheets` (`make screens`) writes build/sheets/*.png: a sheet or more for every kind of screen,
each picture under its name.
"""

from __future__ import annotations

import shutil
import sys
from collections import defaultdict
from html import escape
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.chromium import find_chromium

PICTURES, SHEETS = Path("build/screenshots"), Path("build/sheets")
MOST = {"320": 12, "768": 4, "1440": 2}
"""Pictures on a sheet, by the width of the screen."""
STYLE = """
body { margin: 8px; background: #777; font: 12px sans-serif; color: #fff;
  display: flex; flex-wrap: wrap; gap: 8px; align-items: start }
figure { margin: 0 } img { display: block; max-height: 2400px }
figcaption { padding: 2px 0; max-width: 320px; overflow-wrap: anywhere }
"""


def kinds(pictures: list[Path]) -> dict[tuple[str, str], list[Path]]:
    """The pictures by kind of screen (`letter`, `coach`) and width."""
    found: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for path in pictures:
        width = next((width for width in MOST if f"-{width}" in path.stem), "1440")
        found[path.stem.partition("-")[0], width].append(path)
    return dict(found)


def sheet(pictures: list[Path]) -> str:
    """A page with these pictures, in the folder where they are."""
    figures = (
        f'<figure><figcaption>{escape(path.stem)}</figcaption><img src="{escape(path.name)}"></figure>'
        for path in pictures
    )
    return f"<!doctype html><style>{STYLE}</style>{''.join(figures)}"


def main() -> None:
    """Write the sheets anew; those of before are gone."""
    shutil.rmtree(SHEETS, ignore_errors=True)
    SHEETS.mkdir(parents=True)
    written = PICTURES / "sheet.html"
    with sync_playwright() as playwright:
        path = find_chromium(playwright.chromium.executable_path)
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 2000, "height": 800})
        for (kind, width), pictures in kinds(sorted(PICTURES.glob("*.png"))).items():
            for start in range(0, len(pictures), MOST[width]):
                written.write_text(sheet(pictures[start : start + MOST[width]]), "utf-8")
                page.goto(written.resolve().as_uri())
                name = f"{kind}-{width}-{start // MOST[width]:02}.png"
                page.screenshot(path=SHEETS / name, full_page=True)
        browser.close()
    written.unlink(missing_ok=True)
    sys.stdout.write(f"{len(list(SHEETS.iterdir()))} sheets in {SHEETS}\n")


if __name__ == "__main__":
    main()
