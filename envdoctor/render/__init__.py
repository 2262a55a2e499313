"""Render: a Stack becomes files through templates/; pure."""
