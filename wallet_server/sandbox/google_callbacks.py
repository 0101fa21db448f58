"""What Google tells a program's server: that somebody saved a card, or deleted it, signed as Google signs it.

The scheme is ECv2SigningOnly: a root key, which is published, signs an intermediate key, and that signs the notices.
It is written here once more, and not with the code of the verifier that it is for, so that no mistake is shared.

Source: developers.google.com/wallet/retail/loyalty-cards/use-cases/use-callbacks-for-saves-and-deletions.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from wallet_server.sandbox.network import Network, Unreachable
from wallet_server.sandbox.wire import cancel_all

SENDER: Final = "GooglePayPasses"
PROTOCOL: Final = "ECv2SigningOnly"
NOTICE_LIFETIME: Final = timedelta(hours=1)
KEY_LIFETIME: Final = timedelta(days=7)
_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

_log = logging.getLogger(__name__)


class GoogleCallbacks:
    """Signs notices and brings them to the server, some times if need be. For one event loop.

    ``secret`` is the sandbox's own: the root key follows from it, because servers keep what they fetched for half a
    day, and a sandbox that was started again must not be a stranger to them. ``now`` is the machine's time.
    """

    def __init__(
        self, network: Network, *, issuer_id: str, public_url: str, secret: str, now: Callable[[], datetime]
    ) -> None:
        seed = hashlib.sha256(b"the root key of Google's stand-in " + secret.encode()).digest()
        self._root = ec.derive_private_key(int.from_bytes(seed) % (_P256_ORDER - 1) + 1, ec.SECP256R1())
        self._intermediate = ec.generate_private_key(ec.SECP256R1())
        self._network = network
        self._issuer_id = issuer_id
        self._url = f"{public_url}/google/callbacks"
        self._now = now
        self._under_way: set[asyncio.Task[None]] = set()

    def keys(self) -> dict[str, Any]:
        """The document of root keys, as Google publishes it."""
        end = self._now() + KEY_LIFETIME
        return {"keys": [{"keyValue": _public(self._root), "protocolVersion": PROTOCOL, "keyExpiration": _ms(end)}]}

    def tell(self, owner: Mapping[str, Any], object_id: str, event: str) -> None:
        """Send a notice of ``save`` or ``del`` of an object of this class, in the background.

        Google knows the address from the class, and takes https only: a class of a server without it names none, and
        the stand-in calls the server that it belongs to.
        """
        url = str(owner.get("callbackOptions", {}).get("url") or self._url)
        notice = self.notice(str(owner.get("id", "")), object_id, event)
        task = asyncio.get_running_loop().create_task(self._send(url, notice))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def notice(self, class_id: str, object_id: str, event: str) -> dict[str, Any]:
        """A notice as it goes out."""
        message = json.dumps(
            {
                "classId": class_id,
                "objectId": object_id,
                "eventType": event,
                "expTimeMillis": int(_ms(self._now() + NOTICE_LIFETIME)),
                "count": 1,
                "nonce": secrets.token_hex(16),
            }
        )
        end = _ms(self._now() + KEY_LIFETIME)
        signed_key = json.dumps({"keyValue": _public(self._intermediate), "keyExpiration": end})
        return {
            "signature": _signature(self._intermediate, SENDER, self._issuer_id, PROTOCOL, message),
            "intermediateSigningKey": {
                "signedKey": signed_key,
                "signatures": [_signature(self._root, SENDER, PROTOCOL, signed_key)],
            },
            "protocolVersion": PROTOCOL,
            "signedMessage": message,
        }

    async def stop(self) -> None:
        """Give up what is under way."""
        await cancel_all(self._under_way)

    async def _send(self, url: str, notice: Mapping[str, Any]) -> None:
        try:
            answer = await self._network.call("POST", url, json=notice)
        except Unreachable as error:
            _log.warning("a notice of Google's stand-in did not arrive: %s", error)
        else:
            if answer.status != 200:
                _log.warning("a notice of Google's stand-in was answered %d", answer.status)


def _signature(key: ec.EllipticCurvePrivateKey, *parts: str) -> str:
    """Over each part after its length in bytes, four of them, the smallest first."""
    signed = b"".join(len(part.encode()).to_bytes(4, "little") + part.encode() for part in parts)
    return base64.b64encode(key.sign(signed, ec.ECDSA(hashes.SHA256()))).decode()


def _public(key: ec.EllipticCurvePrivateKey) -> str:
    return base64.b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def _ms(moment: datetime) -> str:
    return str(int(moment.timestamp() * 1000))
