"""`gridledger receipt`: trade receipts, checked by whoever holds one."""

from pathlib import Path
from typing import Annotated, Any

import typer

from gridledger.cli.operations import Operations
from gridledger.cli.output import console, say, write_json

__all__ = ["add_receipt_commands"]


def add_receipt_commands(cli: typer.Typer, operations: Operations) -> None:
    """`verify`."""

    @cli.callback()
    def receipt() -> None:
        """Trade receipts."""

    @cli.command()
    def verify(
        file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="What GET /v1/proofs/trades answered.")],
        rpc: Annotated[str, typer.Option(help="Any endpoint of the chain, best not the node's.")],
        deployment: Annotated[
            Path | None,
            typer.Option(exists=True, dir_okay=False, help="The market's deployment.json, from somebody trusted."),
        ] = None,
        json_path: Annotated[Path | None, typer.Option("--json", help="Write the result here.")] = None,
    ) -> None:
        """Check each link of a receipt against the chain; exit 1 naming every link that fails.

        Without `--deployment` the contracts are those the receipt names; their code is compared in any case.
        """
        result = operations.verify_receipt(file, rpc, deployment)
        if json_path is not None:
            write_json(json_path, result)
        _print(result)
        if not result["ok"]:
            raise typer.Exit(1)


def _print(result: dict[str, Any]) -> None:
    for link in result["links"]:
        reason = f" ({link['why']})" if link["verdict"] == "open" else ""
        console.print(f"{link['verdict']:6} {link['link']}{reason}", markup=False, soft_wrap=True)
        for problem in link["problems"]:
            text = f"{problem['what']}: the chain says {problem['expected']}, the receipt {problem['found']}"
            console.print(f"       {text}", markup=False, soft_wrap=True)
    failed = sum(link["verdict"] == "fails" for link in result["links"])
    if failed:
        say(f"[bold red]receipt refuted[/]: {failed} of {len(result['links'])} links fail")
    else:
        say("[bold green]receipt holds[/]: every link that it shows is on the chain")
    say(f"contracts named by {result['contracts_named_by']}")
