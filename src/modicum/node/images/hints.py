"""What to say beside a build's own words, which often name the symptom and not the cause."""

from __future__ import annotations

import re

_FULL = "No space left on device|Disk quota exceeded"
_EARLY = "not valid yet|not yet valid|NotValidYet"
_LATE = "certificate has expired|Release file for [^\\n]{0,300} is expired|CertificateExpired"
_UNTRUSTED = "certificate verify failed|UnknownIssuer|self.signed certificate|unable to get local issuer"
_NETWORK = """(?x)
    Temporary\\ failure\\ (in\\ name\\ resolution|resolving) | Could\\ not\\ (resolve|connect\\ to)
    | Name\\ or\\ service\\ not\\ known | NewConnectionError | ConnectTimeoutError | ProxyError
    | Failed\\ to\\ establish\\ a\\ new\\ connection | Network\\ is\\ unreachable | No\\ route\\ to\\ host
    | Connection\\ timed\\ out | Unable\\ to\\ connect\\ to | dns\\ error | tcp\\ connect\\ error"""
_NO_DEBIAN_PACKAGE = "Unable to locate package|has no installation candidate"
_NO_PYTHON_PACKAGE = (
    "No matching distribution found|no version of|not found in the package registry|ResolutionImpossible"
)

_HINTS = {
    _FULL: """\
A disk is full. Layers and caches are below $MODICUM_HOME/node: free some space, or set MODICUM_HOME to a directory on \
a larger disk.""",
    _EARLY: """\
This machine's clock seems to be behind: what it downloads is dated in its future. `date` shows the clock.""",
    _LATE: """\
What was downloaded has expired, or this machine's clock is ahead. `date` shows the clock.""",
    _UNTRUSTED: """\
The server's certificate is signed by nobody whom this machine trusts. Behind a company's proxy, name its bundle in \
SSL_CERT_FILE before the server starts.""",
    _NETWORK: """\
The build could not reach the network. It goes out as this machine does: see that the machine itself reaches the \
package index, and that its proxy variables were set when the server started.""",
    _NO_DEBIAN_PACKAGE: """\
The image's Debian has no package of that name.""",
    _NO_PYTHON_PACKAGE: """\
No release of that package fits: see that its name and version exist, and that it supports the image's Python.""",
}
"""Pattern → hint. The first that matches is the cause; those below it are what it looks like."""


def hint(text: str) -> str:
    """Return what may have caused a failure that said `text`, or ""."""
    return next((advice for pattern, advice in _HINTS.items() if re.search(pattern, text)), "")


def with_hint(text: str) -> str:
    """Return `text` and, on a line of its own, what may have caused it."""
    advice = hint(text)
    return f"{text}\n{advice}" if advice else text
