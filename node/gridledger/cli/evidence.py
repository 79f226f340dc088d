"""`gridledger meter evidence`: signed texts in the form in which the meter ledger verifies them."""

import json
from pathlib import Path
from typing import Annotated

import typer

from gridledger.metering.evidence import SignedEvidence, signed_evidence
from gridledger.text_files import open_lines

__all__ = ["add_evidence_command"]


def add_evidence_command(cli: typer.Typer) -> None:
    """`evidence`."""

    @cli.command()
    def evidence(
        texts: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="OCMF texts, one a line.")],
    ) -> None:
        """Print what `MeterLedger.dispute` and `registerTemplates` take, one JSON object for each text.

        `signed_text` is the contract's struct as wallets write it; an MTU takes the texts of its start and its end.
        """
        with open_lines(texts) as opened:
            for line in opened.lines:
                if text := line.strip():
                    typer.echo(json.dumps(_document(signed_evidence(text))))


def _document(found: SignedEvidence) -> dict[str, str]:
    words = (f"0x{found.payload.hex()}", found.spans, found.decimals, f"0x{found.r.hex()}", f"0x{found.s.hex()}")
    return {
        "template_hash": f"0x{found.template_hash.hex()}",
        "signed_text": f"({','.join(str(word) for word in words)})",
    }
