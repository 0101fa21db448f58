"""Every table of the server, imported once so that the metadata is complete."""

from sqlmodel import SQLModel

from wallet_server import clock as _clock
from wallet_server.campaigns import models as _campaigns
from wallet_server.challenges import models as _challenges
from wallet_server.idempotency import models as _idempotency
from wallet_server.imports import models as _imports
from wallet_server.issuance import models as _issuance
from wallet_server.ledger import models as _ledger
from wallet_server.mail import models as _mail
from wallet_server.members import models as _members
from wallet_server.notifications import models as _notifications
from wallet_server.outbox import models as _outbox
from wallet_server.partners import models as _partners
from wallet_server.programs import models as _programs
from wallet_server.purchases import models as _purchases
from wallet_server.recovery import models as _recovery
from wallet_server.rewards import models as _rewards
from wallet_server.segments import models as _segments
from wallet_server.staff import models as _staff
from wallet_server.tiers import models as _tiers
from wallet_server.webhooks import models as _webhooks

TABLE_MODULES = (
    _clock, _campaigns, _challenges, _idempotency, _imports, _issuance, _ledger, _mail, _members, _notifications,
    _outbox, _partners, _programs, _purchases, _recovery, _rewards, _segments, _staff, _tiers, _webhooks,
)  # fmt: skip
metadata = SQLModel.metadata
