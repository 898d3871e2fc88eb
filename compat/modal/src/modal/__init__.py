"""`import modal` gives the module `modicum` itself; see the README beside `pyproject.toml`."""

import sys
from typing import TYPE_CHECKING

import modicum

if TYPE_CHECKING:
    from modicum import *  # noqa: F403

modicum.install_as_modal()  # `modal.x` is `modicum.x` from here on
sys.modules[__name__] = modicum
