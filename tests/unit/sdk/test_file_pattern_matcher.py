"""Patterns as Docker documents and tests them for a .dockerignore."""

from __future__ import annotations

from pathlib import Path

import pytest

from modicum.file_pattern_matcher import NON_PYTHON_FILES, FilePatternMatcher


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        # From Docker's documentation
        ("*/temp*", "somedir/temporary.txt", True),
        ("*/temp*", "somedir/temp", True),
        ("*/temp*", "temporary.txt", False),
        ("*/*/temp*", "somedir/subdir/temporary.txt", True),
        ("temp?", "tempa", True),
        ("temp?", "temp", False),
        ("temp?", "tempab", False),
        ("**/*.go", "a.go", True),
        ("**/*.go", "a/b/c.go", True),
        ("/foo/bar", "foo/bar", True),
        ("foo/bar/", "foo/bar", True),
        ("./foo/../bar", "bar", True),
        (" bar ", "bar", True),
        # A directory stands for all that is in it
        ("docs", "docs/a/b.md", True),
        ("docs", "other/docs", False),
        ("docs", "docs.md", False),
        ("**/docs", "other/docs/a", True),
        (".*", ".git/config", True),
        (".*", "a/.git", False),
        # As moby's own table
        ("**", "file", True),
        ("**/", "dir/file", True),
        ("**/**", "dir/file", True),
        ("dir/**", "dir/file", True),
        ("dir/**", "dir/dir2/file", True),
        ("dir/**", "dir", False),
        ("**/dir2/*", "dir/dir2/file", True),
        ("**/dir2/*", "dir/dir2/dir2/file", True),
        ("**file", "dir/file", True),
        ("**/file", "file", True),
        ("**/file", "afile", False),
        ("**file*txt", "dir/dir/file.txt", True),
        ("**/**/*.txt", "dir/dir/file.txt", True),
        ("**/**/*.txt2", "dir/dir/file.txt", False),
        ("a**/*.txt", "a/dir/file.txt", True),
        ("a/*.txt", "a/dir/file.txt", False),
        ("a/*.txt", "a/file.txt", True),
        ("a/*.txt**", "a/file.txt", True),
        ("a[b-d]e", "ae", False),
        ("a[b-d]e", "ace", True),
        ("a[^b-d]e", "aze", True),
        ("a[^b-d]e", "ace", False),
        ("abc.def", "abcZdef", False),
        ("abc?def", "abcZdef", True),
        ("a\\*b", "a*b", True),
        ("a\\*b", "axb", False),
        ("a(b)c/def", "a(b)c/def", True),
        ("a.|)$(}+{bc", "a.|)$(}+{bc", True),
        ("[[]x", "[x", True),
        (
            "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl",
            "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl",
            True,
        ),
        ("*", "line\nbreak", True),
        ("", "a", False),
        (".", "a", False),
        ("*", ".", False),
    ],
)
def test_one_pattern(pattern: str, path: str, matches: bool) -> None:
    assert FilePatternMatcher(pattern)(Path(path)) is matches
    assert (~FilePatternMatcher(pattern))(Path(path)) is not matches


@pytest.mark.parametrize(
    ("patterns", "path", "matches"),
    [
        (["*.md", "!README.md"], "README.md", False),
        (["*.md", "!README.md"], "CHANGES.md", True),
        (["*.md", "!README*.md", "README-secret.md"], "README-secret.md", True),  # the last that matches decides
        (["*.md", "README-secret.md", "!README*.md"], "README-secret.md", False),
        (["!README.md", "*.md"], "README.md", True),
        (["docs", "!docs/keep"], "docs/keep/a", False),
        (["docs", "!docs/keep"], "docs/other", True),
        (["**", "! src"], "src/a.py", False),
        ([], "anything", False),
    ],
)
def test_the_last_pattern_decides(patterns: list[str], path: str, matches: bool) -> None:
    assert FilePatternMatcher(*patterns)(Path(path)) is matches


def test_a_file_of_patterns_is_read_when_it_is_needed(tmp_path: Path) -> None:
    matcher = FilePatternMatcher.from_file(tmp_path / "ignore")
    (tmp_path / "ignore").write_text("# a comment\n\n*.log\n!keep.log\n")
    assert matcher(Path("a.log"))
    assert not matcher(Path("keep.log"))
    assert not matcher(Path("# a comment"))


def test_only_without_exceptions_may_directories_be_skipped() -> None:
    assert FilePatternMatcher("a", "b").can_prune_directories()
    assert not FilePatternMatcher("a", "!a/b").can_prune_directories()
    assert not (~FilePatternMatcher("a")).can_prune_directories()


@pytest.mark.parametrize(("pattern", "text"), [("!", "alone is no pattern"), ("[z-a]", r"'\[z-a\]' is no pattern")])
def test_what_is_no_pattern(pattern: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        FilePatternMatcher(pattern)(Path("a"))


def test_what_python_source_leaves_out() -> None:
    assert not NON_PYTHON_FILES(Path("pkg/mod.py"))
    assert NON_PYTHON_FILES(Path("pkg/data.json"))
    assert repr(NON_PYTHON_FILES) == "modicum.file_pattern_matcher.NON_PYTHON_FILES"
