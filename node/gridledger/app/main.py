"""Entry point: the application's functions behind the command line."""

import os
import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gridledger.app.audit_run import audit
from gridledger.app.bench import run_bench
from gridledger.app.demand_response_run import run_demand_response
from gridledger.app.dispatch_check import check_dispatch
from gridledger.app.erase import apply_erasure, prepare_erasure, sign_erasure
from gridledger.app.export import export_run
from gridledger.app.fleet_run import run_fleet
from gridledger.app.import_run import run_import
from gridledger.app.market_folder import create_market
from gridledger.app.node import NodeFolder
from gridledger.app.node_calls import require_node_url
from gridledger.app.openadr_clients import add_openadr_client, list_openadr_clients, remove_openadr_client
from gridledger.app.operator_run import run_curtail, run_show, run_stop
from gridledger.app.post_run import run_post, run_telegrams
from gridledger.app.receipt_run import verify_receipt
from gridledger.app.replay import run_demo, run_replay
from gridledger.app.server import ServeOptions, serve
from gridledger.app.settings import NodeSettings
from gridledger.chain.embedded import EmbeddedChain
from gridledger.chain.keys import Keystore
from gridledger.chain.market_config import load_market
from gridledger.chain.toolchain import find_anvil
from gridledger.cli.application import create_cli, run_cli
from gridledger.cli.operations import Operations, ServeRequest
from gridledger.cli.output import OnProgress, say
from gridledger.simulation.operator import DispatchListener

__all__ = ["main"]

DEFAULT_MTU_LENGTH_S = 900


def main() -> None:
    """Run the command line."""
    run_cli(create_cli(_operations()))


def _operations() -> Operations:
    return Operations(
        serve=_serve,
        replay=run_replay,
        demo=run_demo,
        export=_export,
        audit=_audit,
        network_init=_network_init,
        network_up=_network_up,
        listen=_listen,
        check_dispatch=check_dispatch,
        show_schedule=run_show,
        curtail=run_curtail,
        stop_zone=run_stop,
        issue_demand=run_demand_response,
        import_file=run_import,
        post_readings=run_post,
        post_telegrams=run_telegrams,
        simulate=run_fleet,
        bench=run_bench,
        verify_receipt=verify_receipt,
        erase_prepare=_erase_prepare,
        erase_sign=sign_erasure,
        erase_apply=_erase_apply,
        openadr_add=add_openadr_client,
        openadr_list=list_openadr_clients,
        openadr_remove=remove_openadr_client,
    )


def _serve(request: ServeRequest) -> None:
    folder = NodeFolder(request.data)
    if not folder.market.exists() and not request.simulated_clock:
        create_market(request.data, mtu_length_s=DEFAULT_MTU_LENGTH_S)
        say(f"new market in {request.data}, with a key for each role in {folder.keys}")
    if request.until_stdin_closes:
        threading.Thread(target=_end_with_stdin, name="stdin", daemon=True).start()
    serve(
        ServeOptions(
            folder=request.data,
            host=request.host,
            port=request.port,
            chain_port=request.chain_port,
            simulated_clock=request.simulated_clock,
        ),
        _announce,
    )


def _announce(line: str) -> None:
    sys.stdout.write(line + "\n")  # the one line on standard output: where the node listens
    sys.stdout.flush()


def _end_with_stdin() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


def _export(data: Path, target: Path, on_progress: OnProgress) -> dict[str, Any]:
    return asdict(export_run(data, target, on_progress))


def _audit(export: Path, rpc_url: str | None, on_progress: OnProgress) -> dict[str, Any]:
    return audit(export, rpc_url, on_progress).to_json()


def _erase_prepare(data: Path, account: str) -> dict[str, Any]:
    return prepare_erasure(data, account, NodeSettings.from_environment(os.environ, listens_at="").retention_days)


def _erase_apply(data: Path, tombstone: Path) -> dict[str, Any]:
    return apply_erasure(data, tombstone, NodeSettings.from_environment(os.environ, listens_at="").retention_days)


def _network_init(data: Path, mtu_length_s: int, genesis_time_s: int | None) -> dict[str, Any]:
    return asdict(create_market(data, mtu_length_s=mtu_length_s, genesis_time_s=genesis_time_s))


def _network_up(data: Path, port: int | None) -> None:
    folder = NodeFolder(data)
    config = load_market(folder.market)
    with EmbeddedChain(
        folder.chain,
        anvil=find_anvil(),
        chain_id=config.chain_id,
        genesis_time_s=config.genesis_time_s,
        port=port,
    ) as chain:
        head = chain.head()
        say(f"chain {chain.chain_id} at {chain.url}, block {head.number if head else 0}; Ctrl-C ends it")
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


def _listen(url: str, keys: Path, limit_kw: int | None) -> None:
    require_node_url(url)
    listener = DispatchListener(url, key=Keystore(keys).load("grid_operator"), limit_kw=limit_kw, on_event=say)
    listener.run(threading.Event())


if __name__ == "__main__":
    main()
