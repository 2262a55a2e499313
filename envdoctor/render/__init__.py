"""Render: a Stack becomes files through templates/; pure."""

from envdoctor.render.artifacts import render as render
