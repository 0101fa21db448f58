"""Wallet passes as a library: content in, signed Apple bundles and Google Wallet objects out.

It knows nothing of programs, members, databases or web frameworks; the server maps its rows to
`PassContent` and calls what is listed here.

========================  ==============================================================================
module                    what it holds
========================  ==============================================================================
`content`                 `PassContent`: what one card says, the same for both wallets; `PassContentError`
`artwork`                 icon, logo and strip PNGs at three scales, drawn from a program's look
`colors`                  how well a colour is read upon another (WCAG)
`glyphs`                  the pictograms of stamps and marks
`apple.model`             `Pass`: any pass that Apple Wallet knows, with its styles, groups of fields and codes
`apple.events`            what tickets and boarding passes say besides
`apple.enrolment`         the form of a card that is given out over NFC: `personalization.json` and its logo
`apple.semantics`         `Semantics`: what a pass or a field means, for the phone's suggestions
`apple.card`              the loyalty card as a `Pass`
`apple.pass_json`         `PassContent` or `Pass` -> `pass.json`, checked against Apple's rules
`apple.fields`            its fields
`apple.envelope`          what it says around them: colours, codes, places, beacons, the update service
`apple.pictures`          is this a PNG, and does it fit its place?
`apple.localization`      texts and pictures by language: the `.lproj` folders
`apple.bundle`            `PassContent` or `Pass` -> a deterministic, signed `.pkpass`
`apple.pkpasses`          several of them in one `.pkpasses`
`apple.signing`           `Signer`: a Pass Type ID certificate set, loaded and checked once
`apple.cms`               the same signature taken apart and checked
`apple.development`       a self-made certificate family for machines without Apple's
`apple.verify`            what an iPhone checks before it takes a pass; `PassRefused` says why not
`apple.pass_rules`        the refusals that concern `pass.json` alone
`apple.push`              `ApnsSender`: update pushes over HTTP/2, one outcome per token
`google.account`          the service account's key file
`google.objects`          `PassContent` -> LoyaltyClass and LoyaltyObject
`google.class_extras`     what a class can say besides: labels, modules, Smart Tap, who may save it
`google.object_extras`    what an object can say besides: states, second points, groups, constraints, links
`google.modules`          the texts, links, pictures, buttons and messages that both have
`google.barcodes`         every kind of code, and codes that change
`google.templates`        which field is shown where on a card
`google.points`           a balance in Google's four forms
`google.parts`            texts in several languages, ids, addresses, times
`google.merging`          what a PATCH has to take away
`google.save_link`        "Save to Google Wallet" links
`google.client`           `GoogleWallet`: the REST API, with its pace, retries and error classes
`google.callbacks`        `CallbackVerifier`: is this save or delete notice really Google's?
========================  ==============================================================================
"""
