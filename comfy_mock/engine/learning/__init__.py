"""Learning from recordings: what a server did, as a script and node classes for a fake (docs/learn.md)."""

from comfy_mock.engine.learning.lesson import Lesson, NothingToLearn, learn

__all__ = ["Lesson", "NothingToLearn", "learn"]
