"""Keys lie encrypted, readable by their owner only, and open with the right password alone."""

import json
import stat
from pathlib import Path

import pytest
from eth_account import Account
from eth_utils.address import to_checksum_address

from gridledger.chain.keys import ACCOUNT_NAMES, KeyMissing, Keystore, KeyUnreadable, account_from_seed

PASSWORD = "GRIDLEDGER_KEYSTORE_PASSWORD"
NOTHING: dict[str, str] = {}


@pytest.fixture
def keystore(tmp_path: Path) -> Keystore:
    """A keystore with one random key, its password beside it."""
    store = Keystore(tmp_path / "keys", NOTHING)
    store.create_missing(["bank"])
    return store


def test_a_key_comes_back_and_its_address_without_decrypting(keystore: Keystore) -> None:
    account = keystore.load("bank")
    assert keystore.address("bank") == account.address == to_checksum_address(account.address)
    assert keystore.load("bank").key == account.key


def test_no_file_holds_the_key_in_clear(keystore: Keystore, tmp_path: Path) -> None:
    secret = bytes(keystore.load("bank").key)
    for path in (tmp_path / "keys").iterdir():
        content = path.read_bytes()
        assert secret not in content
        assert secret.hex().encode() not in content.lower()


def test_only_the_owner_may_read_the_folder_and_its_files(keystore: Keystore, tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["bank.json", "password"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_the_file_is_a_keystore_any_wallet_opens(keystore: Keystore, tmp_path: Path) -> None:
    document = json.loads((tmp_path / "keys" / "bank.json").read_text())
    password = (tmp_path / "keys" / "password").read_text().strip()
    assert (document["version"], document["crypto"]["kdf"]) == (3, "scrypt")
    assert Account.from_key(Account.decrypt(document, password)).address == keystore.address("bank")
    assert len(password) >= 32


def test_every_role_has_a_key_of_its_own(tmp_path: Path) -> None:
    store = Keystore(tmp_path / "keys", NOTHING)
    store.create_missing()
    assert len({store.address(name) for name in ACCOUNT_NAMES}) == len(ACCOUNT_NAMES)


def test_keys_that_are_there_are_never_replaced(keystore: Keystore) -> None:
    before = keystore.address("bank")
    keystore.create_missing(["bank", "oracle"])
    keystore.create({"bank": Account.create()})
    assert keystore.address("bank") == before
    assert keystore.address("oracle") != before


def test_a_wrong_password_is_said_with_the_key_s_name(keystore: Keystore, tmp_path: Path) -> None:
    other = Keystore(tmp_path / "keys", {PASSWORD: "not it"})
    with pytest.raises(KeyUnreadable) as refused:
        other.load("bank")
    assert refused.value.values() == {"name": "bank", "folder": "keys"}
    assert keystore.load("bank").address == keystore.address("bank")


def test_a_password_from_the_environment_is_written_nowhere(tmp_path: Path) -> None:
    store = Keystore(tmp_path / "keys", {PASSWORD: "correct horse battery staple"})
    store.create_missing(["bank"])
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["bank.json"]
    assert "correct horse" not in (tmp_path / "keys" / "bank.json").read_text()
    assert store.load("bank").address == store.address("bank")


def test_loading_a_key_makes_no_password(tmp_path: Path) -> None:
    Keystore(tmp_path / "keys", {PASSWORD: "secret"}).create_missing(["bank"])
    with pytest.raises(KeyUnreadable):
        Keystore(tmp_path / "keys", NOTHING).load("bank")
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["bank.json"]


def test_a_missing_key_is_said_and_nothing_is_made(tmp_path: Path) -> None:
    store = Keystore(tmp_path / "keys", NOTHING)
    for ask in (store.load, store.address):
        with pytest.raises(KeyMissing) as refused:
            ask("bank")
        assert refused.value.values() == {"name": "bank", "folder": "keys"}
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize(
    "content", ["", "{", "{}", '{"version": 3}', '{"address": "xyz", "version": 3}', '"text"', "[]", "5"]
)
def test_a_damaged_file_is_said_and_left_alone(keystore: Keystore, tmp_path: Path, content: str) -> None:
    path = tmp_path / "keys" / "bank.json"
    path.write_text(content)
    for ask in (keystore.load, keystore.address):
        with pytest.raises(KeyUnreadable):
            ask("bank")
    assert path.read_text() == content


def test_one_flipped_digit_of_the_ciphertext_is_noticed(keystore: Keystore, tmp_path: Path) -> None:
    path = tmp_path / "keys" / "bank.json"
    document = json.loads(path.read_text())
    text = document["crypto"]["ciphertext"]
    document["crypto"]["ciphertext"] = ("1" if text[0] == "0" else "0") + text[1:]
    path.write_text(json.dumps(document))
    with pytest.raises(KeyUnreadable):
        keystore.load("bank")


def test_a_seed_gives_the_same_keys_again_and_another_seed_or_name_others(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        Keystore(tmp_path / folder, NOTHING).create_missing(["bank", "oracle"], seed=7)
    one, other = (Keystore(tmp_path / folder, NOTHING) for folder in ("one", "other"))
    assert one.load("bank").key == other.load("bank").key == account_from_seed(7, "bank").key
    addresses = {account_from_seed(seed, name).address for seed in (7, 8) for name in ("bank", "oracle")}
    assert len(addresses) == 4


def test_two_keystores_without_a_seed_share_no_key(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        Keystore(tmp_path / folder, NOTHING).create_missing(["bank"])
    assert len({Keystore(tmp_path / folder, NOTHING).address("bank") for folder in ("one", "other")}) == 2
