"""How the lines of a Dockerfile become steps."""

from __future__ import annotations

from typing import Any

import pytest

from modicum._dockerfile import steps
from modicum.exception import InvalidError
from modicum.image import Image

Step = dict[str, Any]


def copied(words: str, sources: list[str], target: str) -> Step:
    return {"op": "add_files", "words": words, "sources": sources, "target": target}


def read(*lines: str, before: list[Step] | None = None, common: Step | None = None, **arguments: str) -> list[Step]:
    return steps(list(lines), before or [], arguments, common or {}, copied)


def test_each_run_is_a_step_and_lines_continue() -> None:
    made = read("RUN a && \\", "    # a comment", "    b", 'RUN ["echo", "a b"]', common={"force_build": True})
    assert made == [
        {"op": "run_commands", "commands": ["a &&     b"], "force_build": True},
        {"op": "run_commands", "commands": ["echo 'a b'"], "force_build": True},
    ]


def test_variables_keep_their_quotes_meaning() -> None:
    (step,) = read('ENV A=1 B="two words" C=\'$A\' D=$PATH:/x E=a\\ b F="\\$A\\d"')
    assert step == {
        "op": "configure",
        "env": {"A": "1", "B": "two words", "C": "\\$A", "D": "$PATH:/x", "E": "a\\ b", "F": "\\$A\\\\d"},
        "expand": {},
    }


def test_the_old_form_of_env_is_one_variable() -> None:
    assert read("ENV OLD some value")[0]["env"] == {"OLD": "some value"}


def test_arguments_are_given_or_have_defaults_and_variables_hide_them() -> None:
    made = read("ARG V=1 W=2 NONE", "ENV W=x", "RUN it", "ENV X=$V", V="3")
    assert made[1] == {"op": "run_commands", "commands": ["it"], "env": {"V": "3"}}
    assert made[2]["expand"] == {"V": "3", "W": "2"}


def test_configuration_follows() -> None:
    made = read("WORKDIR /a", 'SHELL ["/bin/bash", "-c"]', "CMD echo hi", 'CMD ["x"]', 'ENTRYPOINT ["e"]', "LABEL a=b")
    assert [{**step, "op": ""} for step in made] == [
        {"op": "", "workdir": "/a", "expand": {}},
        {"op": "", "shell": ["/bin/bash", "-c"]},
        {"op": "", "cmd": ["/bin/bash", "-c", "echo hi"]},
        {"op": "", "cmd": ["x"]},
        {"op": "", "entrypoint": ["e"]},
    ]


def test_copies_are_from_the_context_to_the_working_directory() -> None:
    before: list[Step] = [{"op": "configure", "workdir": "/srv"}]
    made = read("COPY --chown=root --link a b /c/", "WORKDIR in", 'COPY ["a b", "."]', "ADD x y", before=before)
    assert made[0] == copied("COPY a b /c/", ["a", "b"], "/c/")
    assert made[2:] == [copied('COPY ["a b", "."]', ["a b"], "/srv/in/"), copied("ADD x y", ["x"], "/srv/in/y")]
    assert read("ARG V=3", "COPY $V /c")[0]["sources"] == ["3"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("FROM debian", "`FROM` cannot be used here: the commands extend the image"),
        ("USER me", "`USER` cannot be used here: all commands and functions run as the container's root"),
        ("FETCH it", "`FETCH` cannot be used here: Modicum does not know it"),
        (
            "RUN --mount=type=cache,target=/x make",
            "`RUN --mount` cannot be used here: that option is not in Modicum yet",
        ),
        ("COPY --from=build /a /b", "`COPY --from` cannot be used here: images have one stage"),
        ("COPY --chmod=755 /a /b", "`COPY --chmod` cannot be used here"),
        ("COPY a", "it needs a source and a target"),
        ("COPY $UNSET /x", "it needs a source and a target"),
        ("ADD https://example.org/x /x", "only local files can be added; fetch it with RUN"),
        ("ADD x.tar.gz /x", "archives are not unpacked"),
        ("RUN cat <<EOF > /x\nhello\nEOF", "`RUN <<` cannot be used here: here-documents are not in Modicum yet"),
        ("ENTRYPOINT run me", 'write a list of words, and have it end with `exec "$@"`'),
        ("SHELL bash", 'it must be a list of words, as in ["/bin/bash", "-c"]'),
        ("ENV A=1 B", "'B' is not of the form NAME=VALUE"),
    ],
)
def test_what_has_no_step_is_named(line: str, says: str) -> None:
    with pytest.raises(InvalidError) as caught:
        read(line)
    assert says in str(caught.value)


def test_a_here_string_is_no_here_document() -> None:
    assert read("RUN cat <<<x && echo $((1<<3))")[0]["commands"] == ["cat <<<x && echo $((1<<3))"]


def test_it_is_read_when_the_steps_are_needed() -> None:
    image = Image.debian_slim("3.12").env({"A": "1"}).dockerfile_commands(["FROM x"], "RUN y")
    with pytest.raises(InvalidError, match="FROM"):
        _ = image.steps
    assert Image.debian_slim("3.12").dockerfile_commands() is not image
