"""Report: Findings, Estimates and Outcomes become text, JSON, HTML or Markdown; pure."""
