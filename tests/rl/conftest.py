"""What tests of whole programs stand on."""

import logging

import pytest


@pytest.fixture(autouse=True)
def _streams_stay_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra configures logging anew, which closes every handler there is.

    That of absl, where another test has loaded it, closes the stream that was stderr then: pytest's own.
    """
    monkeypatch.setattr(logging, "shutdown", lambda *_: None)
