"""The parts that a LoyaltyClass and a LoyaltyObject have in common, each as Google calls it.

Texts are written in the card's language; their translations are looked up in the card's `translations`. Lengths that
Google only recommends are named at the types and not enforced, as it shows longer texts on larger screens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from passes.content import PassContentError
from passes.google.parts import (
    ID_CHARACTERS_MAX,
    JsonObject,
    Words,
    at_most,
    checked,
    distinct,
    https,
    int32,
    interval,
    uri,
)

TEXT_MODULES_MAX = 10
MESSAGES_MAX = 10
VALUE_ADDED_MODULES_MAX = 15
LINKS_MAX = 50
"""Ours: Google names no number of links."""
APP_LINK_TEXT_CHARACTERS_MAX = 30
VALUE_ADDED_HEADER_CHARACTERS_MAX = 60
VALUE_ADDED_BODY_CHARACTERS_MAX = 50

_MODULE_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_ANDROID_PACKAGE = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebImage:
    """A picture: either its address, which Google's servers fetch, or the id of a private one that Google keeps.

    `description` is read to who cannot see it.

    Source: developers.google.com/wallet/reference/rest/v1/Image
    """

    url: str | None = None
    private_id: str | None = None
    description: str = ""

    def written(self, where: str, words: Words) -> JsonObject:
        if (self.url is None) == (self.private_id is None):
            raise PassContentError(where, "a picture has either url or private_id: Google refuses both and neither")
        image: JsonObject = {}
        if self.url is not None:
            image["sourceUri"] = {"uri": https(f"{where}.url", self.url)}
        if self.private_id is not None:
            image["privateImageId"] = checked(f"{where}.private_id", self.private_id)
        if self.description:
            image["contentDescription"] = words.whole(f"{where}.description", self.description)
        return image


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An address with its title (best at most 20 characters): a page, or ``tel:``, ``mailto:``, ``geo:``.

    Source: developers.google.com/wallet/reference/rest/v1/LinksModuleData (Uri)
    """

    uri: str
    description: str = ""
    id: str = ""

    def written(self, where: str, words: Words) -> JsonObject:
        link: JsonObject = {"uri": uri(f"{where}.uri", self.uri)}
        if self.id:
            link["id"] = checked(f"{where}.id", self.id, ID_CHARACTERS_MAX)
        if self.description:
            link["description"] = checked(f"{where}.description", self.description)
            link |= words.localized("localizedDescription", self.description)
        return link


@dataclass(frozen=True, slots=True, kw_only=True)
class TextModule:
    """A text on the details: a header (best at most 35 characters), a body (best at most 500), or both.

    The rows of a template name it by `id`: letters, digits, ``_`` and ``-``; a dot parts the names of a path.

    Source: developers.google.com/wallet/reference/rest/v1/TextModuleData
    """

    id: str
    header: str = ""
    body: str = ""

    def written(self, where: str, words: Words) -> JsonObject:
        if not _MODULE_ID.fullmatch(self.id):
            raise PassContentError(f"{where}.id", "1 to 100 letters, digits, '_' or '-'")
        if not (self.header or self.body):
            raise PassContentError(where, "a text module has a header, a body or both")
        module: JsonObject = {"id": self.id}
        for name, localized, text in (
            ("header", "localizedHeader", self.header),
            ("body", "localizedBody", self.body),
        ):
            if text:
                module[name] = checked(f"{where}.{name}", text)
                module |= words.localized(localized, text)
        return module


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageModule:
    """A picture over the whole width of the details; Google shows one of the class and one of the object.

    Source: developers.google.com/wallet/reference/rest/v1/ImageModuleData
    """

    image: WebImage
    id: str = ""

    def written(self, where: str, words: Words) -> JsonObject:
        module: JsonObject = {"mainImage": self.image.written(f"{where}.image", words)}
        if self.id:
            module["id"] = checked(f"{where}.id", self.id, ID_CHARACTERS_MAX)
        return module


@dataclass(frozen=True, slots=True, kw_only=True)
class AppTarget:
    """What a button opens in Android: either the app of this package name, or an address that has a description.

    Source: developers.google.com/wallet/reference/rest/v1/AppLinkData (AppTarget)
    """

    package_name: str | None = None
    link: Link | None = None

    def written(self, where: str, words: Words) -> JsonObject:
        if (self.package_name is None) == (self.link is None):
            raise PassContentError(where, "a target has either package_name or link")
        if self.link is not None:
            return {"targetUri": _described(f"{where}.link", self.link, words)}
        if self.package_name is None or not _ANDROID_PACKAGE.fullmatch(self.package_name):
            raise PassContentError(f"{where}.package_name", "a name of a package, as com.example.app")
        return {"packageName": self.package_name}


@dataclass(frozen=True, slots=True, kw_only=True)
class AppLink:
    """A button on the front of the card: to an Android app, to a page, or to either. An object's replaces the class's.

    `display_text` has at most 30 characters in every language.

    Source: developers.google.com/wallet/reference/rest/v1/AppLinkData
    """

    android: AppTarget | None = None
    web: Link | None = None
    display_text: str = ""

    def written(self, where: str, words: Words) -> JsonObject:
        if self.android is None and self.web is None:
            raise PassContentError(where, "a button leads to an Android app, to a page, or to either")
        button: JsonObject = {}
        if self.android is not None:
            button["androidAppLinkInfo"] = {"appTarget": self.android.written(f"{where}.android", words)}
        if self.web is not None:
            https(f"{where}.web.uri", self.web.uri)
            button["webAppLinkInfo"] = {"appTarget": {"targetUri": _described(f"{where}.web", self.web, words)}}
        if self.display_text:
            button["displayText"] = words.whole(
                f"{where}.display_text", self.display_text, APP_LINK_TEXT_CHARACTERS_MAX
            )
        return button


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueAddedModule:
    """Something beside the card, which a press opens: a header (at most 60 characters), a body (50), a square picture.

    A lower `sort_index` comes first. It is shown from `starts_at` to `ends_at`.

    Source: developers.google.com/wallet/reference/rest/v1/ValueAddedModuleData
    """

    header: str
    uri: str
    body: str = ""
    image: WebImage | None = None
    sort_index: int | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    def written(self, where: str, words: Words) -> JsonObject:
        module: JsonObject = {
            "header": words.whole(f"{where}.header", self.header, VALUE_ADDED_HEADER_CHARACTERS_MAX),
            "uri": uri(f"{where}.uri", self.uri),
        }
        if self.body:
            module["body"] = words.whole(f"{where}.body", self.body, VALUE_ADDED_BODY_CHARACTERS_MAX)
        if self.image is not None:
            module["image"] = self.image.written(f"{where}.image", words)
        if self.sort_index is not None:
            module["sortIndex"] = int32(f"{where}.sort_index", self.sort_index)
        if shown := interval(f"{where}.", self.starts_at, self.ends_at):
            module["viewConstraints"] = {"displayInterval": shown}
        return module


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A text on the details, from `starts_at` to `ends_at`. With `notify` Android tells of it, in words of Google's.

    Source: developers.google.com/wallet/reference/rest/v1/Message
    """

    id: str
    header: str
    body: str
    notify: bool = False
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    def written(self, where: str, words: Words) -> JsonObject:
        message: JsonObject = {
            "id": checked(f"{where}.id", self.id, ID_CHARACTERS_MAX),
            "header": checked(f"{where}.header", self.header),
            "body": checked(f"{where}.body", self.body),
            "messageType": "TEXT_AND_NOTIFY" if self.notify else "TEXT",
            **words.localized("localizedHeader", self.header),
            **words.localized("localizedBody", self.body),
        }
        if shown := interval(f"{where}.", self.starts_at, self.ends_at):
            message["displayInterval"] = shown
        return message


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedExtras:
    """What both a class and an object can say besides.

    `messages` replaces all messages that lie there, also those that were added one by one; None leaves them.
    """

    image_module: ImageModule | None = None
    app_link: AppLink | None = None
    value_added: tuple[ValueAddedModule, ...] = ()
    messages: tuple[Message, ...] | None = None

    def shared(self, words: Words) -> JsonObject:
        body: JsonObject = {}
        if self.image_module is not None:
            body["imageModulesData"] = [self.image_module.written("image_module", words)]
        if self.app_link is not None:
            body["appLinkData"] = self.app_link.written("app_link", words)
        if self.value_added:
            at_most("value_added", self.value_added, VALUE_ADDED_MODULES_MAX, "value added modules")
            body["valueAddedModuleData"] = [
                module.written(f"value_added[{place}]", words) for place, module in enumerate(self.value_added)
            ]
        if self.messages is not None:
            at_most("messages", self.messages, MESSAGES_MAX, "messages")
            distinct("messages", [message.id for message in self.messages])
            body["messages"] = [
                message.written(f"messages[{place}]", words) for place, message in enumerate(self.messages)
            ]
        return body


def text_modules(where: str, modules: tuple[TextModule, ...], words: Words) -> list[JsonObject]:
    at_most(where, modules, TEXT_MODULES_MAX, "text modules")
    distinct(where, [module.id for module in modules])
    return [module.written(f"{where}[{place}]", words) for place, module in enumerate(modules)]


def links(where: str, items: tuple[Link, ...], words: Words) -> JsonObject:
    at_most(where, items, LINKS_MAX, "links")
    distinct(where, named(items))
    return {"uris": [link.written(f"{where}[{place}]", words) for place, link in enumerate(items)]}


def named(items: Sequence[Link]) -> list[str]:
    return [item.id for item in items if item.id]


def _described(where: str, link: Link, words: Words) -> JsonObject:
    if not link.description.strip():
        raise PassContentError(f"{where}.description", "the address of a button needs its description")
    return link.written(where, words)
