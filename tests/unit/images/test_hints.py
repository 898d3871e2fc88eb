"""What is said beside an installer's own words."""

from __future__ import annotations

import pytest

from modicum.node.images.hints import hint, with_hint

# The installers' own words, as they were seen; but those of wrong clocks were written from knowledge, none was seen.
SAID = [
    ("head: write error: No space left on device", "A disk is full."),
    ("[Errno 28] No space left on device: '/x'", "A disk is full."),
    ("E: Release file for http://x/InRelease is not valid yet (invalid for another 23h 2min 1s).", "clock seems to be"),
    (
        "ssl.SSLCertVerificationError: certificate verify failed: certificate is not yet valid (_ssl.c:1006)",
        "be behind",
    ),
    (
        "E: Release file for http://x/InRelease is expired (invalid since 2d 3h 4min 5s).",
        "this machine's clock is ahead",
    ),
    ("invalid peer certificate: certificate not valid yet: verification time 978307200 (UNIX)", "be behind"),
    ("certificate verify failed: certificate has expired (_ssl.c:1000)", "this machine's clock is ahead"),
    ("certificate verify failed: unable to get local issuer certificate", "signed by nobody whom this machine trusts"),
    ("  cause: dns error\n  cause: failed to lookup address information", "could not reach the network"),
    (
        "W: Failed to fetch http://x/InRelease  Could not resolve 'x'\nE: Unable to locate package tree",
        "reach the network",
    ),
    (
        "Failed to establish a new connection: [Errno -2] Name\nNo matching distribution found for x",
        "reach the network",
    ),
    ("E: Unable to locate package no-such-package", "no package of that name"),
    ("ERROR: No matching distribution found for six==0.0.0.1", "No release of that package fits"),
    ("cause: Because nonesuch was not found in the package registry and you", "No release of that package fits"),
]


@pytest.mark.parametrize(("said", "meant"), SAID)
def test_the_cause_is_named(said: str, meant: str) -> None:
    assert meant in hint(said)
    assert with_hint(said).startswith(f"{said}\n")


@pytest.mark.parametrize("said", ["", "make: *** [all] Error 2", "ModuleNotFoundError: No module named 'x'"])
def test_what_says_enough_gets_no_hint(said: str) -> None:
    assert with_hint(said) == said


def test_a_line_without_end_is_not_searched_again_and_again() -> None:
    assert hint(f"Release file for {'x' * 300} is expired")
    assert not hint(f"Release file for {'x' * 301} is expired")
