"""docs/claims.md says what the estimator says."""

from __future__ import annotations

import pytest
import refresh_claims


def test_the_page_is_what_the_command_writes() -> None:
    written = refresh_claims.PAGE.read_text(encoding="utf-8")
    assert written == refresh_claims.page(), "run: python tools/refresh_claims.py"


def test_every_claim_has_a_verdict() -> None:
    page = refresh_claims.page()
    assert page.count("\n## ") == len(refresh_claims.CLAIMS) == 13
    for line in ("- The estimator: ", "- Measured: ", "- Verdict: "):
        assert page.count(line) == 13


def test_a_number_without_a_measured_row_is_not_written() -> None:
    with pytest.raises(LookupError, match="0 measured rows"):
        refresh_claims.truth(model="gpt2", batch=12345)
