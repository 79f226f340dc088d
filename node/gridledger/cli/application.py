"""Energy-trading and carbon-ledger node."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from gridledger import __version__
from gridledger.cli.auction import auction_json, clear_file, print_auction
from gridledger.cli.demand_response import add_demand_command
from gridledger.cli.dispatch import add_dispatch_commands
from gridledger.cli.erase import add_erase_commands
from gridledger.cli.imports import add_import_command
from gridledger.cli.meters import add_meter_commands
from gridledger.cli.openadr import add_openadr_commands
from gridledger.cli.operations import Operations, ReplayRequest, ServeRequest
from gridledger.cli.operator import add_operator_commands
from gridledger.cli.output import console, fail, interrupts, progress, say, write_json
from gridledger.cli.receipt import add_receipt_commands
from gridledger.cli.summary import print_summary
from gridledger.errors import GridLedgerError

__all__ = ["create_cli", "run_cli"]

DATA_DIR = Path(os.environ.get("GRIDLEDGER_DATA_DIR", "data"))
DataOption = Annotated[Path, typer.Option("--data", help="The node's data folder.")]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Write the result here instead of standard output.")]
InputFile = typer.Option(exists=True, dir_okay=False, readable=True)


def create_cli(operations: Operations) -> typer.Typer:
    """All commands over the application's functions."""
    cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False, help=__doc__)
    _add_node_commands(cli, operations)
    _add_run_commands(cli, operations)
    _add_regulator_commands(cli, operations)
    _add_auction_command(cli)
    _add_bench_command(cli, operations)
    add_import_command(cli, operations)
    network = typer.Typer(no_args_is_help=True, help="The market's network.")
    _add_network_commands(network, operations)
    cli.add_typer(network, name="network")
    meter = typer.Typer(no_args_is_help=True, help="A meter's device.")
    add_meter_commands(meter, operations)
    cli.add_typer(meter, name="meter")
    dispatch = typer.Typer(no_args_is_help=True, help="The grid operator's side.")
    add_dispatch_commands(dispatch, operations, DATA_DIR / "node" / "keys")
    add_operator_commands(dispatch, operations, DATA_DIR / "node" / "keys")
    add_demand_command(dispatch, operations, DATA_DIR / "node" / "keys")
    cli.add_typer(dispatch, name="dispatch")

    receipt = typer.Typer(no_args_is_help=True, help="Receipts of trades.")
    add_receipt_commands(receipt, operations)
    cli.add_typer(receipt, name="receipt")
    erase = typer.Typer(no_args_is_help=True, help="Taking a person out of a node's data folder.")
    add_erase_commands(erase, operations, DATA_DIR / "node")
    cli.add_typer(erase, name="erase")
    openadr = typer.Typer(no_args_is_help=True, help="The OpenADR surface.")
    add_openadr_commands(openadr, operations, DATA_DIR / "node")
    cli.add_typer(openadr, name="openadr")

    @cli.callback(invoke_without_command=True)
    def main(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
        if version:
            typer.echo(__version__)
            raise typer.Exit

    return cli


def run_cli(cli: typer.Typer) -> None:
    """Run a command; a typed error is one clear line and exit status 1."""
    interrupts.install()
    try:
        cli(standalone_mode=True)
    except GridLedgerError as error:
        fail(error)
        sys.exit(1)
    except KeyboardInterrupt:
        say("interrupted; nothing that was acknowledged is lost, run the same command to continue")
        sys.exit(130)


def _add_node_commands(cli: typer.Typer, operations: Operations) -> None:
    @cli.command()
    def serve(
        data: DataOption = DATA_DIR / "node",
        host: Annotated[str, typer.Option(envvar="GRIDLEDGER_HOST")] = "127.0.0.1",
        port: Annotated[int, typer.Option(envvar="GRIDLEDGER_PORT", min=0, max=65535)] = 8000,
        chain_port: Annotated[int | None, typer.Option(envvar="GRIDLEDGER_CHAIN_PORT", min=1, max=65535)] = None,
        simulated_clock: Annotated[bool, typer.Option(help="Time stands still until the socket moves it.")] = False,
        until_stdin_closes: Annotated[bool, typer.Option(hidden=True)] = False,
    ) -> None:
        """Run a node until interrupted; a new data folder gets a new market."""
        operations.serve(
            ServeRequest(
                data=data,
                host=host,
                port=port,
                chain_port=chain_port,
                simulated_clock=simulated_clock,
                until_stdin_closes=until_stdin_closes,
            )
        )


def _add_run_commands(cli: typer.Typer, operations: Operations) -> None:
    @cli.command()
    def demo(data: DataOption = DATA_DIR / "demo", json_path: JsonOption = None) -> None:
        """Run one real day of a feeder with 118 meters, audit it, and leave the node's data in a folder."""
        with progress("demo day") as on_progress:
            result = operations.demo(data, on_progress)
        print_summary(console, result, data)
        if json_path is not None:
            write_json(json_path, result)
        _exit_unless(result["audit_ok"])

    @cli.command()
    def replay(
        readings: Annotated[Path, InputFile],
        meters: Annotated[Path | None, InputFile] = None,
        prices: Annotated[Path | None, InputFile] = None,
        carbon: Annotated[Path | None, InputFile] = None,
        from_text: Annotated[str | None, typer.Option("--from", help="First moment, ISO-8601 UTC.")] = None,
        to_text: Annotated[str | None, typer.Option("--to", help="First moment no longer replayed.")] = None,
        seed: Annotated[int, typer.Option(min=0, max=2**63 - 1)] = 1,
        limit_kw: Annotated[int | None, typer.Option(min=0, help="Feed-in the operator accepts, kW.")] = None,
        data: Annotated[
            Path | None, typer.Option(help="Keep the node's data here; continues a run of the same inputs.")
        ] = None,
        json_path: JsonOption = None,
        export: Annotated[Path | None, typer.Option(help="Write the regulator's export here.")] = None,
    ) -> None:
        """Run the whole market over real readings on a fresh embedded chain, through the public API, and audit it."""
        request = ReplayRequest(
            readings=readings,
            meters=meters,
            prices=prices,
            carbon=carbon,
            from_text=from_text,
            to_text=to_text,
            seed=seed,
            limit_kw=limit_kw,
            data=data,
            export=export,
        )
        with progress("replay") as on_progress:
            result = operations.replay(request, on_progress)
        write_json(json_path, result)
        _exit_unless(result["audit_ok"])


def _add_auction_command(cli: typer.Typer) -> None:
    @cli.command()
    def clear(orders: Annotated[Path, InputFile], json_path: JsonOption = None) -> None:
        """Run the two-product auction over a file of orders, without a chain."""
        result = clear_file(orders)
        if json_path is None and sys.stdout.isatty():
            print_auction(Console(highlight=False), result)
        else:
            write_json(json_path, auction_json(result))


def _add_bench_command(cli: typer.Typer, operations: Operations) -> None:
    @cli.command()
    def bench(
        only: Annotated[str | None, typer.Option(help="One benchmark, or a group such as gas.")] = None,
        json_path: JsonOption = None,
    ) -> None:
        """Measure, as ratios against a limit taken in the same run or set by the project."""
        results = operations.bench(only)
        write_json(json_path, results)
        for name, entry in results.items():
            say(f"{name}: {entry['value']:,} {entry['unit']}, limit {entry['limit']:,}, ratio {entry['ratio']}")


def _add_regulator_commands(cli: typer.Typer, operations: Operations) -> None:
    @cli.command()
    def export(
        target: Annotated[Path, typer.Argument(help="A new or empty folder.")],
        data: DataOption = DATA_DIR / "demo",
    ) -> None:
        """Write everything the regulator may see to open files."""
        with progress("export") as on_progress:
            summary = operations.export(data, target, on_progress)
        write_json(None, summary)

    @cli.command()
    def audit(
        export: Annotated[Path, typer.Option(exists=True, file_okay=False)],
        rpc: Annotated[str | None, typer.Option(help="Chain endpoint; without it the chain is rebuilt.")] = None,
        json_path: JsonOption = None,
    ) -> None:
        """Recompute everything from chain and export; exit 1 naming every mismatch."""
        with progress("audit") as on_progress:
            report = operations.audit(export, rpc, on_progress)
        write_json(json_path, report)
        _say_verdict(report)
        _exit_unless(report["ok"])


def _add_network_commands(network: typer.Typer, operations: Operations) -> None:
    @network.command()
    def init(
        data: DataOption = DATA_DIR / "node",
        mtu_length_s: Annotated[int, typer.Option("--mtu-length", help="300, 900, 1800 or 3600 seconds.")] = 900,
        genesis: Annotated[int | None, typer.Option(help="Genesis time, Unix seconds; now by default.")] = None,
    ) -> None:
        """Make a new market's folder: its rules, and a key for each role."""
        write_json(None, operations.network_init(data, mtu_length_s, genesis))

    @network.command()
    def up(
        data: DataOption = DATA_DIR / "demo",
        port: Annotated[int | None, typer.Option(min=1, max=65535)] = None,
    ) -> None:
        """Serve the chain of any finished run, read-only, until interrupted."""
        operations.network_up(data, port)


def _say_verdict(report: dict[str, Any]) -> None:
    for notice in report["notices"][:20]:
        say(f"{notice['record']}: {notice['text']}")
    if report["ok"]:
        say("[bold green]audit ok[/]: every recomputed figure equals the chain")
        if erased := report["totals"]["erased_readings"]:
            say(f"{erased} readings were erased by the regulator's word and can no longer be verified")
        return
    mismatches = report["mismatches"]
    say(f"[bold red]audit failed[/]: {len(mismatches)} mismatches")
    for mismatch in mismatches[:20]:
        console.print(
            f"  {mismatch['rule']}: {mismatch['record']}: expected {mismatch['expected']}, found {mismatch['found']}",
            markup=False,
            soft_wrap=True,
        )


def _exit_unless(succeeded: bool) -> None:
    if not succeeded:
        raise typer.Exit(1)
