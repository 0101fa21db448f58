"""Several passes in one file, `.pkpasses`, which Safari adds together.

Source: developer.apple.com/documentation/walletpasses/distributing-and-updating-a-pass (bundles of passes: at most
10 passes or 150 MB).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from passes.apple.bundle import stored_zip
from passes.content import PassContentError, Picture

MIME_TYPE: Final = "application/vnd.apple.pkpasses"
PASSES_MAX: Final = 10
BYTES_MAX: Final = 150 * 1000 * 1000


def pkpasses(passes: Sequence[bytes]) -> bytes:
    """Return the `.pkpasses` of signed passes, in this order. Same passes, same bytes.

    Raises `PassContentError` for none, for more than 10, and for more than 150 MB.
    """
    if not passes:
        raise PassContentError("passes", "a bundle of passes holds at least one")
    if len(passes) > PASSES_MAX:
        raise PassContentError("passes", f"a bundle holds at most {PASSES_MAX} passes, not {len(passes)}")
    for index, data in enumerate(passes):
        if not data.startswith(b"PK\x03\x04"):
            raise PassContentError(f"passes[{index}]", "this is not a .pkpass file")
    made = stored_zip([(f"pass-{number}.pkpass", Picture.of(data)) for number, data in enumerate(passes, start=1)])
    if len(made) > BYTES_MAX:
        raise PassContentError("passes", "a bundle of passes has at most 150 MB")
    return made
