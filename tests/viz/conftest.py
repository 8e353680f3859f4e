"""Chromium for the tests of pages."""

from __future__ import annotations

import shutil

import pytest

from tests.other_programs import need


@pytest.fixture(scope="module")
def browser():
    need("chromium")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - the program decides whether it is wanted

    with sync_playwright() as player:
        chromium = player.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def context(browser):
    with browser.new_context(viewport={"width": 1000, "height": 800}, accept_downloads=True) as found:
        yield found
