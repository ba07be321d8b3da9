"""How the demo prints its chapter on checkpoints."""

from __future__ import annotations

from typing import Any

from alpha_db.cli.output import BAD, GOOD, clean
from alpha_db.demo.paragraph import line


def cut(data: dict[str, Any]) -> None:
    """Print what the chapter found."""
    line(
        f"   Signed as {clean(data['signer'])}, and kept outside: {data['logs']} logs, {data['rows']:,} rows."
    )
    line(f"   {data['copied_by']}; there, as the superuser:")
    line(f"     {data['statement']}    (its trigger switched off)")
    line("   The kill switch is gone, and what remains is a chain that ends earlier:")
    outcome = ("     ok", GOOD) if data["unnoticed"] else ("     NOT INTACT", BAD)
    line(outcome, f"      {data['chains']} chains: intact; but compared with the checkpoint:")
    found = data["found"]
    if found is None:
        line(("     NOT FOUND", BAD))
        return
    place = f"{clean(found['table'])}, row {clean(found['id'])}: {clean(found['verdict'])} ({clean(found['code'])})"
    count = found["missing_rows"]
    gone = f"{count} {'row is' if count == 1 else 'rows are'} missing"
    line(("     not ok", BAD), f"  {place}, {gone}")
