"""How a machine's sources list serves another suite."""

from __future__ import annotations

from modicum.node.images.apt import stanzas_for

DEB822 = """\
# a comment
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian.gpg

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main
"""

OTHERS = """\
Types: deb
URIs: https://packages.example
Suites: nodistro
Components: main
"""


def texts(suite: str, **files: str) -> list[str]:
    named = {name.replace("_", "."): text for name, text in files.items()}
    return [stanza.text() for stanza in stanzas_for(suite, "bookworm", named)]


def test_the_codename_is_replaced_and_strangers_are_left_out() -> None:
    assert texts("trixie", a_sources=DEB822, b_sources=OTHERS) == [
        (
            "Types: deb\nUris: http://mirror.example/debian\nSuites: trixie trixie-updates\nComponents: main\n"
            "Signed-By: /usr/share/keyrings/debian.gpg\n"
        ),
        "Types: deb\nUris: http://mirror.example/security\nSuites: trixie-security\nComponents: main\n",
    ]


def test_a_suite_under_development_has_no_security() -> None:
    assert [text.split("Suites: ")[1].split("\n")[0] for text in texts("forky", a_sources=DEB822)] == [
        "forky forky-updates"
    ]


def test_lists_of_one_line_each() -> None:
    lines = (
        "deb [arch=amd64,arm64 signed-by=/k.gpg] http://mirror.example/debian bookworm main contrib # mine\n"
        "deb-src http://mirror.example/debian bookworm main\n"
        "deb http://packages.example stable main\n"
    )
    assert texts("bookworm", a_list=lines) == [
        (
            "Types: deb\nUris: http://mirror.example/debian\nSuites: bookworm\nComponents: main contrib\n"
            "Architectures: amd64 arm64\nSigned-By: /k.gpg\n"
        )
    ]


def test_a_disabled_entry_is_none() -> None:
    assert texts("trixie", a_sources=DEB822.replace("Components", "Enabled: no\nComponents", 1)) == []


def test_without_the_suite_itself_there_is_nothing_to_go_by() -> None:
    assert texts("trixie", a_sources=DEB822.split("\n\n")[1]) == []


def test_a_key_may_stand_in_the_entry_itself() -> None:
    inline = DEB822.replace("Signed-By: /usr/share/keyrings/debian.gpg", "Signed-By:\n -----BEGIN\n .\n abc")
    assert texts("bookworm", a_sources=inline)[0].endswith("Signed-By: \n -----BEGIN\n .\n abc\n")
