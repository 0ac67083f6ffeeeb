"""Operations of the system that fail, one after another."""

import os

OPERATIONS = ("fsync", "replace", "fdopen", "chmod", "unlink", "open")


class Crash(BaseException):
    """The process is gone; nothing may catch it."""


def crashing(monkeypatch, place, error, names=OPERATIONS):
    """Let the operation of this number fail, and all after it; returns how many are left before it."""
    left = [place]

    def wrapped(real):
        def operation(*arguments, **options):
            left[0] -= 1
            if left[0] < 0:
                raise error
            return real(*arguments, **options)

        return operation

    for name in names:
        monkeypatch.setattr(os, name, wrapped(getattr(os, name)))
    return left
