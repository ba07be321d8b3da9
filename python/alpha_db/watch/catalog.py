"""Every figure by name, with the words that Prometheus shows. docs/monitoring.md has the same table."""

from __future__ import annotations

#: What the exporter says of itself.
OWN = {
    "alpha_db_up": "1: the database answered this scrape. 0: it could not be asked, and its figures are left out.",
    "alpha_db_scrape_duration_seconds": "How long the database took to answer this scrape.",
    "alpha_db_errors_total": "Questions that failed since the exporter started, by error code.",
    "alpha_db_last_error_info": "Always 1, while the database cannot be asked; the label code says why.",
    "alpha_db_build_info": "Always 1; the label version is the exporter's.",
    "alpha_db_refresh_up": "1: the costly figures are there, not older than three intervals. 0: they are left out.",
    "alpha_db_refresh_timestamp_seconds": "When the costly figures were asked for.",
    "alpha_db_notifications_total": "What became of notifications since the start: delivered, retried, failed.",
    "alpha_db_notify_up": "1: the last look for events succeeded. 0: events wait.",
    "alpha_db_desks": "With --all-schemas: how many desks there are, or were since the start.",
    "alpha_db_round_duration_seconds": "With --all-schemas: how long the last round over all desks took.",
}

#: metrics(), at each scrape.
CHEAP = {
    "alpha_db_database_info": "Always 1; the labels say which installation this is.",
    "alpha_db_in_recovery": "1: this server is a standby.",
    "alpha_db_replay_age_seconds": "On a standby: how long ago the last transaction that it replayed was committed.",
    "alpha_db_writers_locked_out": "1: writers of the closed tables are refused (AUD-009).",
    "alpha_db_table_readable": "0: the table is gone, locked, or closed to this login.",
    "alpha_db_rows_total": "Rows that the table ever got: its last id.",
    "alpha_db_last_row_timestamp_seconds": "When the table got its last row.",
    "alpha_db_clock_ahead_seconds": "How far the table's last row is ahead of the server's clock.",
    "alpha_db_verification_runs_total": "Recorded verification runs that found nothing wrong.",
    "alpha_db_verification_last_timestamp_seconds": "When the last of them was recorded.",
    "alpha_db_verification_last_full_timestamp_seconds": "When one was recorded that ended the reading of every row.",
    "alpha_db_verified_last_id": "How far the last recorded run read the table.",
    "alpha_db_checkpoint_runs_total": "Runs that a checkpoint covers.",
    "alpha_db_checkpoint_last_timestamp_seconds": (
        "When the newest checkpoint was made, by source: the database, or the directory of --checkpoints."
    ),
    "alpha_db_attempts_refused_total": "Refused attempts by code, table and operation.",
    "alpha_db_lock_waiters": "Sessions that wait for a lock of this installation, by what holds it.",
    "alpha_db_lock_longest_wait_seconds": "How long the first of them has waited.",
    "alpha_db_lock_holders": "Transactions that hold such a lock.",
    "alpha_db_lock_longest_hold_seconds": "How long the oldest of them is open; missing without pg_read_all_stats.",
    "alpha_db_proposals_pending": "Proposals that wait for votes.",
    "alpha_db_proposal_next_expiry_timestamp_seconds": "When the first of them expires.",
    "alpha_db_part_up": "0: this part of the figures could not be read, and is left out.",
    "alpha_db_part_error_info": "Always 1; the label code says why a part could not be read.",
}

#: costly_metrics(), every --interval seconds.
COSTLY = {
    "alpha_db_guards_changed": "Guards that are not as last recorded.",
    "alpha_db_damaged_places": "Damaged places that verification found since the last lawful release.",
    "alpha_db_verdict_info": "Always 1; the label verdict says what is known of the table.",
    "alpha_db_lockdown_proven": "1: the lockdown holds, after every signature of a release was checked.",
    "alpha_db_lockdown_since_timestamp_seconds": "Since when; missing without a lockdown.",
    "alpha_db_rows_stored": "Rows that the table holds.",
    "alpha_db_table_bytes": "Bytes that the table takes, with its indexes.",
    "alpha_db_retention_overdue_rows": "Rows that are older than the table's retention policy allows.",
    "alpha_db_headroom_problems": "Where somebody has to act, by kind of what runs out.",
    "alpha_db_headroom_used_ratio": "How much of the fullest is used, by kind: 1 is all.",
    "alpha_db_headroom_left_seconds": "How long the first of a kind lasts at the present rate.",
}

HELP = {**OWN, **CHEAP, **COSTLY}
