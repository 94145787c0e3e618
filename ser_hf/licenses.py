"""Licences of data: how the Hub calls them, and which of them let a copy be passed on."""

import re

# As a corpus names it, without regard to case and hyphens → its identifier on the Hub
# (https://huggingface.co/docs/hub/repositories-licenses).
HUB_IDENTIFIERS = {
    "cc0 1.0": "cc0-1.0",
    "cc by 4.0": "cc-by-4.0",
    "cc by sa 4.0": "cc-by-sa-4.0",
    "cc by nc 4.0": "cc-by-nc-4.0",
    "cc by nc sa 4.0": "cc-by-nc-sa-4.0",
    "cc by nd 4.0": "cc-by-nd-4.0",
    "cc by nc nd 4.0": "cc-by-nc-nd-4.0",
    "odbl 1.0": "odbl",
    "odbl": "odbl",
    "mit": "mit",
    "apache 2.0": "apache-2.0",
}


def hub_identifier(license: str) -> str | None:
    """ "CC BY-NC-SA 4.0" → "cc-by-nc-sa-4.0"; None where the Hub has no name for it."""
    return HUB_IDENTIFIERS.get(re.sub(r"[\s_-]+", " ", license).strip().lower())


def card_fields(license: str) -> dict[str, str]:
    """The `license` of a card's header, with its name where the Hub has none for it; empty where it is not known."""
    if not license:
        return {}
    known = hub_identifier(license)
    return {"license": known} if known else {"license": "other", "license_name": license}


def may_be_passed_on(license: str) -> bool:
    """Whether the licence lets anyone publish a copy in another form.

    No: "free for research" and its like, and the no-derivatives licences, since Parquet shards are another form.
    """
    known = hub_identifier(license)
    return known is not None and "-nd-" not in known
