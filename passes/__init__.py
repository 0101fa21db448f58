"""Wallet passes as a library: content in, signed Apple bundles and Google Wallet objects out.

It knows nothing of programs, members, databases or web frameworks; the server maps its rows to
`PassContent` and calls what is listed here.

========================  ==============================================================================
module                    what it holds
========================  ==============================================================================
`content`                 `PassContent`: what one card says, the same for both wallets; `PassContentError`
`artwork`                 icon, logo and strip PNGs at three scales, drawn from a program's look
`glyphs`                  the pictograms of stamps and marks
`apple.pass_json`         `PassContent` -> the `pass.json` dictionary of a store card, checked against
                          Apple's rules
`apple.bundle`            files -> a deterministic, signed `.pkpass`
`apple.signing`           `Signer`: a Pass Type ID certificate set, loaded and checked once
`apple.cms`               the same signature taken apart and checked
`apple.development`       a self-made certificate family for machines without Apple's
`apple.verify`            what an iPhone checks before it takes a pass; `PassRefused` says why not
`apple.pass_rules`        the refusals that concern `pass.json` alone
`apple.push`              `ApnsSender`: update pushes over HTTP/2, one outcome per token
`google.account`          the service account's key file
`google.objects`          `PassContent` -> LoyaltyClass and LoyaltyObject
`google.save_link`        "Save to Google Wallet" links
`google.client`           `GoogleWallet`: the REST API, with its pace, retries and error classes
`google.callbacks`        `CallbackVerifier`: is this save or delete notice really Google's?
========================  ==============================================================================
"""
