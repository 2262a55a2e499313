"""A network is called unreachable where a program says so; a question about working without one proves nothing."""

from __future__ import annotations

import pytest

from envdoctor.knowledge.load import Knowledge
from envdoctor.readers import read
from envdoctor.rules import registry


def _said(text: str) -> list[tuple[str, str]]:
    return [(each.rule, each.severity) for each in registry.evaluate(read(text), Knowledge()).findings]


@pytest.mark.parametrize(
    "text",
    [
        "How can I use a model offline? I want to avoid LocalEntryNotFoundError on the compute node.",
        "No internet on this node, how do I pre-download the weights?\nWithout them people get a ProxyError, I read.",
        "Is there a way to work offline with transformers? The docs name ReadTimeoutError for a slow hub.",
        "torch 2.5.1, everything works. What is the best way to set a proxy so that I never see ConnectTimeoutError?",
        "计算节点没有网络,如何离线使用 huggingface 模型?文档里提到 ReadTimeoutError。",
        "We set HF_HUB_OFFLINE=1 and TRANSFORMERS_OFFLINE=1, and all works from the cache. RTX 3090, driver 535.",
        "I raised HF_HUB_DOWNLOAD_TIMEOUT to 60, which would prevent ReadTimeoutError; works fine now.",
    ],
)
def test_a_question_about_working_offline_is_no_error(text: str) -> None:
    assert "network-unreachable" not in [slug for slug, _ in _said(text)]
    assert not [each for each in _said(text) if each[1] == "error"]


@pytest.mark.parametrize(
    "text",
    [
        "requests.exceptions.ProxyError: HTTPSConnectionPool(host='huggingface.co', port=443): Max retries exceeded",
        "curl: (6) Could not resolve host: huggingface.co",
        "OSError: We couldn't connect to 'https://huggingface.co' to load this file, or see how to use offline mode",
        "How can I pre-download a model?\nsocket.gaierror: [Errno -3] Temporary failure in name resolution",
        "WARNING: Retrying (Retry(total=4)) after connection broken by 'NewConnectionError'",
    ],
)
def test_an_error_line_proves_it(text: str) -> None:
    assert _said(text)[0] == ("network-unreachable", "error")


def test_a_person_s_word_for_it_is_a_warning() -> None:
    assert _said("pip gives me a ProxyError since yesterday, torch cannot be installed")[0] == (
        "network-unreachable",
        "warning",
    )
