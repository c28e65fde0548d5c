"""Pictures show what they are said to; those of the product are taken by `make screens`."""

from __future__ import annotations

import struct
from pathlib import Path

from playwright.async_api import Page

from tests.browser.pictures import picture

TALL = '<body style="margin: 0"><div style="height: 1500px"></div>{}</body>'
FRAME = '<iframe style="display: block; border: 0; height: 100px" srcdoc="below"></iframe>'


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of a PNG."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    return width, height


async def test_a_picture_is_of_what_is_in_sight_or_of_the_whole_page(page: Page, tmp_path: Path) -> None:
    await page.set_viewport_size({"width": 320, "height": 640})
    for frames, height in (("", 1500), (FRAME, 1600)):
        await page.set_content(TALL.format(frames))
        await picture(page, tmp_path / "sight.png")
        await picture(page, tmp_path / "whole.png", full_page=True)
        assert size_of(tmp_path / "sight.png") == (320, 640)
        assert size_of(tmp_path / "whole.png") == (320, height)
        assert page.viewport_size == {"width": 320, "height": 640}
