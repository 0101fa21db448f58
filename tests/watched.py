"""Browsers that are watched: what a page's scripts or its policy complain of fails the test that caused it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

OpenPage = Callable[..., Page]


@contextmanager
def watched_pages(chromium: Browser, base_url: str, *, seconds: float, ignore: str = "") -> Iterator[OpenPage]:
    """Yield a function that opens a fresh browser; nothing may go wrong in it but what contains ``ignore``.

    Its options are those of Playwright's ``new_context``; addresses in tests are paths.
    """
    wrong: list[str] = []
    contexts: list[BrowserContext] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not (ignore and ignore in message.text):
            wrong.append(message.text)

    def make(**options: Any) -> Page:
        context = chromium.new_context(base_url=base_url, locale="en-GB", **options)
        context.set_default_timeout(seconds * 1000)
        context.on("console", hear)
        context.on("weberror", lambda error: wrong.append(str(error.error)))
        contexts.append(context)
        return context.new_page()

    yield make
    for context in contexts:
        context.close()
    assert wrong == []
