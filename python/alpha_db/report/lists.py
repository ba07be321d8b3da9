"""The lists of a report: damage, changes of limits and agents, proposals with their votes, attempts, segments."""

from __future__ import annotations

from collections.abc import Sequence

from alpha_db.pages import Element, Node, element, state
from alpha_db.queries import Row
from alpha_db.report.reading import MAX_EMBEDDED, Activity, Reading
from alpha_db.report.sections import section, table
from alpha_db.report.texts import brief, percent, short_time, shortened

#: Rows of a list; it says how many there are.
_MOST = 200


def _newest(rows: Sequence[Row]) -> tuple[Sequence[Row], Element]:
    """Return the last rows, the newest first, and a sentence that says how many that is."""
    shown = list(reversed(rows))[:_MOST]
    said = (
        f"The newest {len(shown)} of {len(rows):,} are shown."
        if len(rows) > _MOST
        else f"{len(rows):,} in all."
    )
    return shown, element("p", said)


def damage(reading: Reading) -> Element | None:
    """Return the damaged places, the first of each chain; None if there are none."""
    if not reading.checked.damage:
        return None
    content: list[Node] = []
    for name, found in reading.checked.damage.items():
        if found.problem:
            content.append(element("p", state("unknown", f"{name}: {found.problem}")))
            continue
        total = found.rows[0]["total"] if found.rows else 0
        more = f", of which the first {len(found.rows)} are shown" if total > len(found.rows) else ""
        content.append(
            element("h3", f"{name}: {total:,} damaged {'place' if total == 1 else 'places'}{more}")
        )
        rows = [
            [
                "-" if row["id"] is None else str(row["id"]),
                state("bad", row["verdict"].replace("_", " ")),
                element("code", row["expected_hash"] or "-"),
                element("code", row["actual_hash"] or "-"),
                row["detail"] or "",
            ]
            for row in found.rows
        ]
        content.append(table(["row", "what", "hash expected", "hash found", "detail"], rows, numbers=[0]))
    return section("Damage", *content)


def changes(activity: Activity) -> Element | None:
    """Return the changes of limits and agents that applied in the period; None if there were none."""
    rows = [row for row in activity.limits.rows if row["proposal_id"]]
    if not rows and not activity.limits.problem:
        return None
    shown, said = _newest(rows)
    listed = [
        [
            str(row["version"]),
            short_time(row["applied_at"]),
            row["kind"],
            row["proposer"] or "-",
            ", ".join(name or "?" for name in row["approvers"] or []) or "-",
            brief(row["reason"] or "-"),
            _thresholds(row["kill_thresholds"]),
        ]
        for row in shown
    ]
    head = ["version", "applied", "kind", "proposed by", "approved by", "reason", "kill thresholds then"]
    return section(
        "Changes that agents approved", said, table(head, listed, numbers=[0]), source=activity.limits
    )


def _thresholds(found: object) -> str:
    if not isinstance(found, list) or not found:
        return "-"
    said = [f"{each.get('asset')} {percent(each.get('kill_loss_pct'))} %" for each in found[:20]]
    return ", ".join(said) + (f" and {len(found) - 20} more" if len(found) > 20 else "")


def proposals(activity: Activity) -> tuple[Element | None, list[dict[str, str]]]:
    """Return the proposals of the period with their votes, and the signatures that the page verifies of them."""
    rows = activity.proposals.rows
    if not rows and not activity.proposals.problem:
        return None, []
    signatures: list[dict[str, str]] = []
    items = [_proposal(row, activity.votes.rows, signatures) for row in rows]
    total = rows[0]["total"] if rows else 0
    said = (
        f"The newest {len(rows)} of {total:,} proposals are shown."
        if total > len(rows)
        else f"{total:,} in all."
    )
    content = (element("p", said), *items)
    return section("Proposals and votes", *content, source=activity.proposals), signatures


def _proposal(row: Row, votes: Sequence[Row], signatures: list[dict[str, str]]) -> Element:
    mine = [vote for vote in votes if vote["proposal_id"] == row["proposal_id"]]
    who = f"the proposal {row['proposal_id']} by {row['proposer_name']}"
    signed = [_signed(row, who, f"proposal-{row['proposal_id']}", signatures)]
    for number, vote in enumerate(mine):
        who = f"the vote of {vote['name']} on {row['proposal_id']}"
        signed.append(_signed(vote, who, f"vote-{row['proposal_id']}-{number}", signatures))
    cast = [
        element("li", f"{vote['name']}: {vote['decision']}, signed {short_time(vote['signed_at'])}")
        for vote in mine
    ]
    return element(
        "details",
        element(
            "summary",
            element("span", short_time(row["created_at"]), class_="time"),
            " ",
            element("b", row["kind"]),
            f" by {row['proposer_name']}: ",
            _status(row),
        ),
        element("p", brief(row["reason"]), class_="value"),
        element("p", f"{row['approvals']} of {row['needed']} approvals that it needs besides the proposer."),
        element("ul", *cast) if cast else None,
        *signed,
        class_="trade",
    )


def _status(row: Row) -> Element:
    if row["status"] in ("PENDING", "EXPIRED"):  # which of the two, only a clock could say
        return state("unknown", f"undecided, expires {short_time(row['expires_at'])}")
    return state("good" if row["status"] == "APPLIED" else "warn", row["status"].lower())


def _signed(row: Row, who: str, name: str, signatures: list[dict[str, str]]) -> Element:
    text = row["signed_text"]
    shown, cut = shortened(text)
    if len(text) <= MAX_EMBEDDED:
        extra = {} if shown == text else {"text": text}
        signed = {"who": who, "element": name, "key": row["public_key"], "signature": row["signature"]}
        signatures.append(signed | extra)
    unverified = " This page does not verify its signature." if len(text) > MAX_EMBEDDED else ""
    return element(
        "details",
        element("summary", f"the signed text of {who}"),
        element("pre", shown, id=name),
        element("p", f"{cut:,} more characters are left out here.{unverified}", class_="dim")
        if cut
        else None,
    )


def attempts(activity: Activity) -> Element:
    """Return how often each kind of attempt was refused, ever."""
    rows = [row for row in activity.attempts.rows if row["attempts"]]
    listed = table(
        ["code", "table", "operation", "refused"],
        [[row["code"], row["table_name"], row["operation"], f"{row['attempts']:,}"] for row in rows],
        numbers=[3],
    )
    said = "Since the installation, not only in this period, and also those that were rolled back."
    content = (
        (element("p", said, class_="dim"), listed)
        if rows
        else (element("p", "No attempt was ever refused."),)
    )
    return section("Refused attempts", *content, source=activity.attempts)


def archived(activity: Activity) -> Element | None:
    """Return the segments that agents agreed to archive; None if there are none."""
    rows = activity.archived.rows
    if not rows and not activity.archived.problem:
        return None
    shown, number = _newest(rows)
    listed = [
        [
            row["table"],
            f"{row['first_id']:,} to {row['through_id']:,}",
            short_time(row["last_created_at"]),
            f"{row['still_here']:,}",
            element("code", row["segment_sha256"]),
            short_time(row["created_at"]),
        ]
        for row in shown
    ]
    head = [
        "table",
        "rows",
        "last of them written",
        "still here",
        "SHA-256 of the segment's file",
        "approved",
    ]
    said = "Rows that left by approval. Their segments prove themselves: alpha-db verify-export FILE."
    return section(
        "Archived rows",
        element("p", said),
        number,
        table(head, listed, numbers=[3]),
        source=activity.archived,
    )
