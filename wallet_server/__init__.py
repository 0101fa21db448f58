"""Wallet Server: a self-hosted loyalty server whose cards live in Apple and Google Wallet.

The house, floor by floor (an import never goes up):

* ``db errors clock settings i18n tokens`` – the ground: nothing about loyalty in it;
* ``outbox idempotency`` – what must be done after a commit, and what was already answered;
* ``programs staff members ledger rules tiers challenges rewards`` – the loyalty program;
* ``issuance notifications segments campaigns`` – what members hold, see and are sent;
* ``purchases imports insights`` – use-cases that call the others;
* ``sandbox`` – simulated phones and stand-ins of Apple's and Google's servers;
* ``web`` – the doors, and the only place that knows Flask; ``app`` puts them together.
"""

__version__ = "0.1.0"
