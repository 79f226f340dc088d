"""`gridledger openadr client`: which systems may use the OpenADR surface."""

from pathlib import Path
from typing import Annotated

import typer

from gridledger.cli.operations import Operations
from gridledger.cli.output import say, write_json

__all__ = ["add_openadr_commands"]


def add_openadr_commands(cli: typer.Typer, operations: Operations, data_dir: Path) -> None:
    """`client add`, `client list` and `client remove`."""
    client = typer.Typer(no_args_is_help=True, help="Systems that may use the OpenADR surface.")
    cli.add_typer(client, name="client")

    @client.command()
    def add(
        client_id: Annotated[str, typer.Argument(help="Letters, digits, dots, hyphens and underscores.")],
        role: Annotated[str, typer.Option(help="bl: business logic, the grid operator's systems. ven: an end node.")],
        data: Annotated[Path, typer.Option("--data", help="The node's data folder.")] = data_dir,
    ) -> None:
        """Make a client; its secret is printed once and only its hash is kept. The node may run."""
        write_json(None, operations.openadr_add(data, client_id, role))
        say("keep the secret: it is not stored and cannot be shown again")

    @client.command(name="list")
    def list_clients(
        data: Annotated[Path, typer.Option("--data", help="The node's data folder.")] = data_dir,
    ) -> None:
        """Show the clients and their roles."""
        write_json(None, operations.openadr_list(data))

    @client.command()
    def remove(
        client_id: Annotated[str, typer.Argument()],
        data: Annotated[Path, typer.Option("--data", help="The node's data folder.")] = data_dir,
    ) -> None:
        """Forget a client: its tokens are worth nothing from now on. What it has made stays."""
        write_json(None, operations.openadr_remove(data, client_id))
