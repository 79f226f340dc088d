"""`gridledger erase`: takes a person out of a node's data folder, with the regulator's signature."""

from pathlib import Path
from typing import Annotated, Any

import typer

from gridledger.cli.operations import Operations
from gridledger.cli.output import say, write_json

__all__ = ["add_erase_commands"]

OutFile = Annotated[Path, typer.Option("--out", dir_okay=False, help="Where the result is written.")]
InFile = typer.Option(exists=True, dir_okay=False, readable=True)


def add_erase_commands(cli: typer.Typer, operations: Operations, data_dir: Path) -> None:
    """`prepare`, `sign` and `apply`."""

    @cli.command()
    def prepare(
        account: Annotated[str, typer.Option(help="The participant's address.")],
        out: OutFile,
        data: Annotated[Path, typer.Option("--data", help="The node's data folder.")] = data_dir,
    ) -> None:
        """Write what would be erased as the EIP-712 document that the regulator signs; changes nothing."""
        request = operations.erase_prepare(data, account)
        write_json(out, request)
        write_json(None, request["typed_data"]["message"])

    @cli.command()
    def sign(
        request: Annotated[Path, InFile],
        out: OutFile,
        keystore: Annotated[Path | None, typer.Option(dir_okay=False, help="The regulator's keystore file.")] = None,
        signature: Annotated[str | None, typer.Option(help="Or what a wallet signed, 0x hex.")] = None,
    ) -> None:
        """Sign a request with the regulator's key, or add the signature of a wallet; the result is the tombstone."""
        tombstone = operations.erase_sign(request, keystore, signature)
        write_json(out, tombstone)
        say(f"signed by {tombstone['signer']}")

    @cli.command()
    def apply(
        tombstone: Annotated[Path, InFile],
        data: Annotated[Path, typer.Option("--data", help="The node's data folder.")] = data_dir,
    ) -> None:
        """Erase what a signed tombstone says and rewrite the database's file; the node must be stopped."""
        result = operations.erase_apply(data, tombstone)
        write_json(None, result)
        _say_what_is_left(result)


def _say_what_is_left(result: dict[str, Any]) -> None:
    say("copies made before are not reached: backups, exports and what others were shown")
    if result["export_in_folder"]:
        say("the data folder holds an export with readings and salts: delete it, or export anew")
    if result["salts_follow_from_seed"]:
        say("this market is a replay: its salts follow from its seed, so whoever has that can make them again")
