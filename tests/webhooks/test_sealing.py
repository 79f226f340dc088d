"""Webhook secrets lie sealed in the database; the key to them lies beside it, for its owner alone."""

import base64
from pathlib import Path

import pytest

from gridledger.webhooks.sealing import SealBroken, SecretBox, new_secret


def test_a_secret_is_32_random_bytes_in_the_standards_form() -> None:
    first, second = new_secret(), new_secret()
    assert first != second
    assert first.startswith("whsec_")
    assert len(base64.b64decode(first.removeprefix("whsec_"))) == 32


def test_what_is_sealed_opens_again_and_does_not_show(tmp_path: Path) -> None:
    secret = new_secret()
    sealed = SecretBox(tmp_path / "keys" / "box.key").seal(secret)
    assert secret.removeprefix("whsec_").encode() not in sealed
    assert SecretBox(tmp_path / "keys" / "box.key").open(sealed) == secret


def test_the_key_is_made_once_for_its_owner_alone_and_leaves_nothing_else(tmp_path: Path) -> None:
    box = SecretBox(tmp_path / "keys" / "box.key")
    box.seal("a")
    key = (tmp_path / "keys" / "box.key").read_bytes()
    box.seal("b")
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["box.key"]
    assert (tmp_path / "keys" / "box.key").read_bytes() == key
    assert (tmp_path / "keys" / "box.key").stat().st_mode & 0o777 == 0o600


def test_another_key_or_a_changed_byte_opens_nothing(tmp_path: Path) -> None:
    box = SecretBox(tmp_path / "one.key")
    sealed = box.seal("secret")
    for broken in (sealed[:-1] + b"A", sealed[:20], b""):
        with pytest.raises(SealBroken):
            box.open(broken)
    with pytest.raises(SealBroken):
        SecretBox(tmp_path / "other.key").open(sealed)
    (tmp_path / "one.key").write_text("not a key\n")
    with pytest.raises(SealBroken):
        box.open(sealed)
