"""`gridledger openadr client`: made, shown and removed, its secret printed once."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gridledger.app.main import _operations
from gridledger.cli.application import create_cli
from gridledger.store.database import Database
from gridledger.store.openadr_clients import AdrClientExists


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """What these commands look for in a market's folder."""
    (tmp_path / "market.json").write_text("{}")
    return tmp_path


def gridledger(*arguments: object) -> Result:
    command = ["openadr", "client", *(str(one) for one in arguments)]
    return CliRunner().invoke(create_cli(_operations()), command)


def good(*arguments: object) -> dict[str, Any]:
    result = gridledger(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def test_a_client_is_made_shown_and_removed(data: Path) -> None:
    made = good("add", "operator", "--role", "bl", "--data", data)
    assert made["client_id"] == "operator"
    assert "write_events" in made["scope"].split()
    listed = good("list", "--data", data)
    assert [(client["client_id"], client["role"]) for client in listed["clients"]] == [("operator", "bl")]
    assert made["client_secret"] not in json.dumps(listed)
    database = Database(data / "node.db")
    with database.read() as tx:
        kept = tx.openadr_clients.find("operator")
        assert kept is not None
        assert kept.secret.matches(made["client_secret"])
    database.close()
    assert isinstance(gridledger("add", "operator", "--role", "ven", "--data", data).exception, AdrClientExists)
    assert good("remove", "operator", "--data", data) == {"removed": "operator"}
    assert good("list", "--data", data) == {"clients": []}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("add", "a/b", "--role", "ven"), "adr-client-id-malformed"),
        (("add", "a", "--role", "admin"), "adr-role-unknown"),
        (("remove", "nobody"), "adr-client-unknown"),
    ],
)
def test_a_bad_request_is_refused_by_name(data: Path, arguments: tuple[str, ...], code: str) -> None:
    error = gridledger(*arguments, "--data", data).exception
    assert getattr(error, "code", str)() == code


def test_a_folder_without_a_market_is_refused(tmp_path: Path) -> None:
    error = gridledger("list", "--data", tmp_path).exception
    assert getattr(error, "code", str)() == "no-market-here"
    assert not list(tmp_path.iterdir())
