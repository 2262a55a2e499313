"""Dockerfiles, requirements and environment files become lines with their numbers; nothing in them is run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envdoctor.formats import conda_environment, dockerfile, requirements
from envdoctor.formats.shell_words import commands, expanded
from envdoctor.model.snapshot import Declared

PLAIN = Declared(environment=0, file="F", line=1, text="", kind="package", name="")
CU126 = "https://download.pytorch.org/whl/cu126"


def nothing(path: str) -> None:
    return None


def docker(text: str, **beside: str) -> list[list[tuple[int, str, str, str | None]]]:
    def near(path: str) -> tuple[str, str] | None:
        return (path, beside[path]) if path in beside else None

    stages = dockerfile.read(text, PLAIN, near)
    return [[(line.line, line.kind, line.name, line.value) for line in lines] for lines in stages]


def pip(text: str) -> list[Declared]:
    return requirements.read(text, PLAIN, nothing)


def test_each_word_of_a_long_instruction_has_its_own_line() -> None:
    text = (
        "# a comment\nARG CUDA=12.8.1\nFROM nvidia/cuda:${CUDA}-base-ubuntu24.04\nARG V=2.7.1\n"
        "RUN --mount=type=cache,target=/x apt-get update \\\n    # why\n\n    && apt-get install -y python3 && \\\n"
        f"    pip3 install \"torch==${{V}}+cu126\" \\\n    'numpy<2' --extra-index-url {CU126}\n"
    )
    assert docker(text) == [
        [
            (3, "image", "nvidia/cuda", "12.8.1-base-ubuntu24.04"),
            (8, "system", "python3", ""),
            (9, "package", "torch", "==2.7.1+cu126"),
            (10, "package", "numpy", "<2"),
        ]
    ]
    torch = dockerfile.read(text, PLAIN, nothing)[0][2]
    assert torch.text == 'pip3 install "torch==${V}+cu126" \\'
    assert torch.more_indexes == (CU126,)


def test_a_stage_holds_what_the_stage_holds_that_it_builds_on() -> None:
    text = "FROM a:1 AS one\nRUN pip install torch\nFROM one AS two\nRUN pip install numpy\nFROM b\nCOPY --from=two a b"
    assert [[name for _, _, name, _ in lines] for lines in docker(text)] == [["a", "torch", "numpy"], ["b"]]


def test_heredocs_exec_forms_and_shells_are_read() -> None:
    text = (
        "FROM a\nRUN <<EOF\nset -e\n# a comment\npip install torch==2.7.1\nEOF\nENV X=y\n"
        'RUN ["pip", "install", "jax"]\nRUN bash -lc "cd /x && python3 -m pip install numpy"\n'
    )
    assert docker(text)[0][1:] == [
        (5, "package", "torch", "==2.7.1"),
        (7, "variable", "X", "y"),
        (8, "package", "jax", ""),
        (9, "package", "numpy", ""),
    ]


def test_what_only_a_run_would_tell_is_not_guessed() -> None:
    text = "ARG TAG\nFROM nvidia/cuda:$TAG\nRUN V=$(date) && pip install torch==$V numpy\n"
    assert docker(text) == [
        [(2, "image", "nvidia/cuda", None), (3, "package", "torch", None), (3, "package", "numpy", "")]
    ]


def test_a_requirements_file_is_followed_by_the_name_it_was_copied_from() -> None:
    text = "FROM a\nCOPY deps/reqs.txt /tmp/\nRUN pip install -r /tmp/reqs.txt\n"
    assert docker(text, **{"deps/reqs.txt": "\ntorch==2.7.1\n"})[0][1:] == [(2, "package", "torch", "==2.7.1")]
    assert docker(text)[0][1:] == []


def test_indexes_of_variables_count() -> None:
    text = f"FROM a\nENV PIP_INDEX_URL={CU126}\nRUN pip install torch\nRUN uv pip install jax --torch-backend cu128\n"
    found = dockerfile.read(text, PLAIN, nothing)[0]
    assert [(line.name, line.by, line.index) for line in found[2:]] == [
        ("torch", "pip", CU126),
        ("jax", "uv", "https://download.pytorch.org/whl/cu128"),
    ]


def test_the_escape_of_windows_is_known() -> None:
    assert docker("# escape=`\nFROM a\nRUN pip install `\n torch\n")[0][1:] == [(4, "package", "torch", "")]


def test_options_of_a_requirements_file_hold_for_all_lines() -> None:
    found = pip(
        "torch==2.7.1  # pinned\n-i https://ann:pw@pip.example.com/simple\n--extra-index-url=" + CU126 + "\n"
        "Foo_Bar[x,a] >=1 ; python_version < '3.11'\nnumpy==1.26.4 \\\n    --hash=sha256:00\n-e .\n-c c.txt\n./here\n"
    )
    assert [(line.line, line.name, line.value) for line in found] == [
        (1, "torch", "==2.7.1"),
        (4, "foo-bar", ">=1"),
        (5, "numpy", "==1.26.4"),
    ]
    assert {line.index for line in found} == {"https://***@pip.example.com/simple"}
    assert (found[0].more_indexes, found[1].extras) == ((CU126,), ("a", "x"))
    assert found[1].marker == 'python_version < "3.11"'


def test_a_link_to_a_wheel_says_its_version() -> None:
    wheel = "https://download.pytorch.org/whl/cu118/torch-2.7.1%2Bcu118-cp310-cp310-linux_x86_64.whl"
    for line in (f"torch @ {wheel}", wheel):
        found = pip(line)
        assert [(each.name, each.value) for each in found] == [("torch", "==2.7.1+cu118")]


def test_files_that_name_each_other_end() -> None:
    found = requirements.read("torch\n-r a.txt\n", PLAIN, lambda path: (path, "numpy\n-r a.txt\n"))
    assert [line.name for line in found] == ["torch"] + ["numpy"] * 4


def test_a_project_names_the_index_of_uv() -> None:
    text = (
        '[project]\ndependencies = [\n  "torch==2.7.1",\n  "numpy",\n]\n[tool.uv.sources]\ntorch = { index = "p" }\n'
        f'[[tool.uv.index]]\nname = "p"\nurl = "{CU126}"\nexplicit = true\n'
    )
    found = requirements.project(text, PLAIN)
    assert [(line.line, line.name, line.by, line.index) for line in found] == [
        (3, "torch", "uv", CU126),
        (4, "numpy", "uv", None),
    ]
    with pytest.raises(ValueError, match="table"):
        requirements.project("[project", PLAIN)


def test_an_environment_file_has_channels_packages_and_what_pip_adds() -> None:
    text = (
        "channels:\n  - pytorch\n  - nodefaults\ndependencies:\n"
        "  - python=3.10\n  - conda-forge::pytorch=2.5.1=cuda118*\n"
        f"  - pip:\n    - --extra-index-url {CU126}\n    - torch==2.7.1\n    - -r more.txt\n"
    )
    found = conda_environment.read(text, PLAIN)
    assert [(line.line, line.kind, line.by, line.name, line.value) for line in found] == [
        (2, "channel", "conda", "pytorch", None),
        (3, "channel", "conda", "nodefaults", None),
        (5, "package", "conda", "python", "=3.10"),
        (6, "package", "conda", "pytorch", "=2.5.1=cuda118*"),
        (9, "package", "pip", "torch", "==2.7.1"),
    ]
    assert (found[3].channel, found[4].more_indexes) == ("conda-forge", (CU126,))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "line 1"),
        ("- a\n", "dependencies"),
        ("", "dependencies"),
        ("dependencies: {a: b}", "dependencies"),
        ("[" * 5000, "deep"),
        ("a: !!python/object:os.system x\n", "dependencies"),
        ("dependencies:\n  - \x00", "character"),
    ],
)
def test_what_is_no_environment_file_says_where_it_ends(text: str, words: str) -> None:
    with pytest.raises(conda_environment.Malformed, match=words):
        conda_environment.read(text, PLAIN)


def test_variables_are_put_in_as_docker_does() -> None:
    assert expanded("$A ${A:-x} ${B:-x} ${A:+y} $B \\$A", {"A": "1"}) == "1 1 x y $B \\$A"


def test_variables_that_double_do_not_grow_for_ever() -> None:
    values = [value or "" for _, _, _, value in docker("FROM a\nENV A=x\n" + "ENV A=$A$A\n" * 200)[0]]
    assert 1 < max(map(len, values)) < 10_000


def test_a_quote_that_never_ends_gives_no_words() -> None:
    assert list(commands([(1, "pip install 'torch")])) == []


WORDS = st.sampled_from(
    (
        *(
            "FROM",
            "RUN",
            "ENV",
            "ARG",
            "COPY",
            "pip",
            "install",
            "torch==2.7.1",
            "-r",
            "--index-url",
            "conda",
            "create",
        ),
        *(
            "-c",
            "<<EOF",
            "EOF",
            "&&",
            ";",
            "(",
            ")",
            "\\",
            "\n",
            '"',
            "'",
            "$X",
            "${",
            "bash",
            "[",
            "]",
            ",",
            "@",
            "==",
        ),
        *("::", "#", "-", ":", "\x01", "\x00", "é"),
    )
)
TEXTS = st.one_of(st.text(max_size=80), st.lists(WORDS, max_size=40).map(" ".join))


@given(TEXTS)
def test_no_text_breaks_a_reader(text: str) -> None:
    for stage in dockerfile.read("FROM a\n" + text, PLAIN, lambda path: (path, text)):
        assert all(line.line >= 1 for line in stage)
    pip(text)
    try:
        conda_environment.read(f"dependencies:\n  - {text}", PLAIN)
    except conda_environment.Malformed as problem:
        assert str(problem)
