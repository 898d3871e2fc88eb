"""Which files does a list of patterns mean? Patterns as in a `.dockerignore`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    Rule = tuple[bool, re.Pattern[str]]
    """Whether it takes back what earlier ones matched, and what it matches."""

    Ignore = Sequence[str] | Callable[[Path], bool]


class _Matcher:
    """Says of a path whether it matches; `~` turns it round."""

    _shown: str | None = None

    def __call__(self, file_path: Path) -> bool:
        raise NotImplementedError

    def __invert__(self) -> _Matcher:
        """Return a matcher of all paths that this one does not match."""
        return _Inverted(self)

    def __repr__(self) -> str:
        return self._shown or super().__repr__()

    def can_prune_directories(self) -> bool:
        """Whether nothing below a matching directory needs to be looked at."""
        return False


class _Inverted(_Matcher):
    def __init__(self, inner: _Matcher, shown: str | None = None) -> None:
        self._inner = inner
        self._shown = shown

    def __call__(self, file_path: Path) -> bool:
        return not self._inner(file_path)


class FilePatternMatcher(_Matcher):
    """Matches paths against patterns.

        FilePatternMatcher("**/*.pyc", "data")        # compiled files anywhere, and `data` with all that is in it
        ~FilePatternMatcher("**/*.py")                # all but Python files

    Paths and patterns are relative to the directory in question. `*` is anything but a slash, `?` one such character,
    `[a-c]` one of some, `**` any number of directories. What matches a directory matches all that is in it. A pattern
    behind `!` takes back what earlier ones matched; the last that says something about a path decides. Raises
    `ValueError`, when it is first used, for a pattern that is none.
    """

    def __init__(self, *pattern: str) -> None:
        if not all(isinstance(each, str) for each in pattern):
            raise ValueError(f"patterns must be strings, not {pattern!r}")
        self._patterns: Sequence[str] = pattern
        self._file: str | Path | None = None
        self._known: list[Rule] | None = None

    @classmethod
    def from_file(cls, file_path: str | Path) -> FilePatternMatcher:
        """Match the patterns of a file, one a line; `#` begins a comment. It is read when they are first needed."""
        matcher = cls.__new__(cls)
        matcher._patterns, matcher._file, matcher._known = (), file_path, None
        return matcher

    def __call__(self, file_path: Path) -> bool:
        """Return whether a path, or a directory that it is in, matches."""
        return self.matches(str(file_path))

    def matches(self, path: str) -> bool:
        """The same, for a path that is a string."""
        import os

        path = os.path.normpath(path)
        matched = False
        for takes_back, expression in self._rules():
            if takes_back == matched and expression.fullmatch(path):
                matched = not takes_back
        return matched and path != "."

    def can_prune_directories(self) -> bool:
        """Whether nothing below a matching directory needs to be looked at."""
        return not any(takes_back for takes_back, _ in self._rules())

    def _rules(self) -> list[Rule]:
        if self._known is None:
            self._known = [rule for line in self._lines() if (rule := _rule(line)) is not None]
        return self._known

    def _lines(self) -> Iterable[str]:
        if self._file is None:
            return self._patterns
        import os

        with open(os.path.expanduser(self._file), encoding="utf-8-sig") as file:
            return [line for line in file.read().splitlines() if not line.startswith("#")]


def _rule(line: str) -> Rule | None:
    """Return what a line says, None if it says nothing. Raises `ValueError` if it is no pattern."""
    import os
    import re

    pattern = line.strip()
    takes_back = pattern.startswith("!")
    if takes_back:
        pattern = pattern[1:].strip()
        if not pattern:
            raise ValueError('"!" alone is no pattern: it takes back what the pattern behind it matches')
    if not pattern:
        return None
    pattern = os.path.normpath(pattern).lstrip("/")
    if not pattern or pattern == ".":
        return None
    try:
        return takes_back, re.compile(f"(?:{_expression(pattern)})(?:/.*)?", re.DOTALL)
    except re.error as error:
        raise ValueError(f"{line!r} is no pattern: {error}") from None


_PIECE = r"\*\*/|\*\*|\*|\?|\\(.)|\[(\^?)((?:\\.|[^\]\\])+)\]|(.)"


def _expression(pattern: str) -> str:
    """Translate a pattern for `re`, piece by piece."""
    import re

    return re.sub(_PIECE, _translate, pattern, flags=re.DOTALL)


def _translate(found: re.Match[str]) -> str:
    import re

    piece = found[0]
    if piece in _WILD:
        return _WILD[piece]
    if found[3] is not None:
        return f"[{found[2]}{_class(found[3])}]"
    return re.escape(found[1] or found[4])


def _class(inside: str) -> str:
    """Keep ranges and escapes; what else `re` gives a meaning in a class loses it."""
    import re

    return re.sub(r"\\.|[\[&~|^]", lambda match: match[0] if match[0][0] == "\\" else "\\" + match[0], inside)


_WILD = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}

NON_PYTHON_FILES = _Inverted(FilePatternMatcher("**/*.py"), f"{__name__}.NON_PYTHON_FILES")
"""All but Python files: what `add_local_python_source` leaves out."""
