"""Transcript to cues to files: layout, writers, and what keeps text from breaking either."""
