"""What differs between two versions of a program, in the words of whoever reads the panel. Pure.

Each difference is a heading with what was and what is: sentences put together from parts of a file would read wrong
in at least one language.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from wallet_server.i18n import LANGUAGES, Translator, gettext_noop, localized
from wallet_server.programs.diff import VALUE_LENGTH_MAX, Difference
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.rule import Earn, Redeem
from wallet_server.programs.tiers import TierWindow
from wallet_server.rules.words import effects_of, moment_words
from wallet_server.tiers.sentences import window_sentence
from wallet_server.web.panel.program_changes_labels import LABELS, NOUNS, PLURALS, VALUES

HEADINGS: Final = {
    "added": gettext_noop("New: %(what)s"),
    "opened": gettext_noop("Opened again: %(what)s"),
    "removed": gettext_noop("Removed: %(what)s"),
    "closed": gettext_noop("Closed: %(what)s"),
    "left": gettext_noop("No longer in the file, but kept: %(what)s"),
    "reordered": gettext_noop("Another order: %(what)s"),
}
MOMENTS: Final = frozenset({"starts_at", "ends_at", "redeem_until"})
PICTURES: Final = frozenset({"logo", "icon", "picture"})
PICTURE_NAME_LENGTH: Final = 6
"""Of a hash: enough to tell two pictures from one another."""
NUMBERS: Final = frozenset({"percent", "max_percent", "multiply", "fixed_points", "latitude", "longitude"})


@dataclass(frozen=True)
class ChangeWords:
    """One difference: what it is about, how it was and how it is; either may be empty."""

    heading: str
    before: str = ""
    after: str = ""


@dataclass(frozen=True)
class ChangeReader:
    """Tells differences between two files in one language; ``currency`` is the program's."""

    t: Translator
    currency: str
    names: Mapping[tuple[str, str], str]

    def told(self, one: Difference) -> ChangeWords:
        """A difference in words."""
        if one.kind == "changed":
            heading = f"{self._what(one)} · {self._path(one.path)}"
            if (one.noun, one.path) == ("tiers", "window"):
                windows = (TierWindow.model_validate(value) for value in (one.old, one.new))
                return ChangeWords(heading, *(window_sentence(window, self.t) for window in windows))
            key = one.path.rpartition(".")[2]
            return ChangeWords(heading, self._value(one.old, key), self._value(one.new, key))
        if one.kind == "counted":
            counts = {name: self.t.number(count) for name, count in one.new.items()}
            return ChangeWords(
                self.t.gettext("Products: %(added)s new, %(changed)s changed, %(removed)s removed", **counts)
            )
        if one.kind == "reordered":
            heading = self.t.gettext(HEADINGS[one.kind], what=self.t.gettext(PLURALS.get(one.noun, one.noun)))
            before, after = (", ".join(self._name(one.noun, name) for name in names) for names in (one.old, one.new))
            return ChangeWords(heading, before, after)
        heading = self.t.gettext(HEADINGS[one.kind], what=self._what(one))
        return ChangeWords(heading, after=self._shortened(self._item(one.new)) if one.new else "")

    def _what(self, one: Difference) -> str:
        noun = self.t.gettext(NOUNS[one.noun]) if one.noun in NOUNS else one.noun
        if not one.name:
            return noun
        return self.t.gettext("%(section)s “%(name)s”", section=noun, name=self._name(one.noun, one.name))

    def _name(self, noun: str, name: str) -> str:
        return self.names.get((noun, name), name)

    def _path(self, path: str) -> str:
        return " · ".join(map(self._label, path.split(".")))

    def _label(self, key: str) -> str:
        if key in LANGUAGES:
            return LANGUAGES[key]
        return self.t.gettext(LABELS[key]) if key in LABELS else key.replace("_", " ")

    def _item(self, item: Mapping[str, Any]) -> str:
        """All of something new, without what its heading says."""
        given = {key: value for key, value in item.items() if key not in ("code", "name", "sku")}
        return self._pairs(given, " · ")

    def _pairs(self, item: Mapping[str, Any], between: str) -> str:
        # A kind is what the rest is about, and says so itself.
        given = {key: value for key, value in item.items() if value not in ([], {}, None, False)}
        return between.join(
            self._value(value, key) if key == "kind" else f"{self._label(key)}: {self._value(value, key)}"
            for key, value in given.items()
        )

    def _value(self, value: Any, key: str) -> str:
        return self._shortened(self._words(value, key))

    def _shortened(self, text: str) -> str:
        return text if len(text) <= VALUE_LENGTH_MAX else f"{text[: VALUE_LENGTH_MAX - 1]}…"

    def _words(self, value: Any, key: str) -> str:
        t = self.t
        if value is None or value in ([], {}):
            return t.gettext("none")
        if key in PICTURES:
            return t.gettext("picture %(name)s", name=value[:PICTURE_NAME_LENGTH])
        if isinstance(value, bool):
            return t.gettext("yes") if value else t.gettext("no")
        if isinstance(value, int):
            return t.money(value, self.currency) if key.endswith("_minor") else t.number(value)
        if isinstance(value, list):
            nested = any(isinstance(item, Mapping) for item in value)
            return ("; " if nested else ", ").join(self._words(item, key) for item in value)
        if isinstance(value, Mapping):
            return self._part(value, key)
        if key in MOMENTS:
            return moment_words(datetime.fromisoformat(value), t)
        if key in NUMBERS or key.endswith("_percent"):
            return t.number(Decimal(value))
        known = VALUES.get(key, {}).get(value)
        return t.gettext(known) if known else str(value)

    def _part(self, value: Mapping[str, Any], key: str) -> str:
        """A part of the file that has several members: in a sentence of its own where the house has one."""
        if key == "earn":
            return ", ".join(effects_of(Earn.model_validate(value), None, "customer", self.t))
        if key == "redeem":
            return ", ".join(effects_of(None, Redeem.model_validate(value), "customer", self.t))
        if key == "photo":
            return f"{self._words(value['picture'], 'picture')} ({value['x']} %, {value['y']} %)"
        return self._pairs(value, ", ")


def change_reader(old: ProgramFile, new: ProgramFile, t: Translator) -> ChangeReader:
    """A reader of what differs between these two, with the names that either of them gives."""
    names: dict[tuple[str, str], str] = {}
    for file in (old, new):
        for noun, items in (
            ("outlet", file.outlets),
            ("category", file.catalog.categories),
            ("tier", file.tiers.levels),
            ("challenge", file.challenges),
            ("segment", file.segments),
        ):
            names.update(
                {(noun, one.code): localized(one.name, t.language, file.program.languages) for one in items if one.name}
            )
        names.update(
            {
                ("product", one.sku): localized(one.name, t.language, file.program.languages)
                for one in file.catalog.products
                if one.name
            }
        )
    return ChangeReader(t, new.program.currency, names)
