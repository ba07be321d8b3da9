"""A command with a program's own arguments behind --, which are left as they are."""

from __future__ import annotations

import click

_REST = "alpha_db.rest"


class WithRest(click.Command):
    """A command that reads what stands before -- ; rest_of() gives what stands behind it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put what stands behind the first -- aside."""
        end = args.index("--") if "--" in args else len(args)
        ctx.meta[_REST] = tuple(args[end + 1 :])
        return super().parse_args(ctx, args[:end])

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Show -- in the usage."""
        return [*super().collect_usage_pieces(ctx), "[-- ARGUMENT...]"]


def rest_of(ctx: click.Context) -> tuple[str, ...]:
    """Return what stands behind --."""
    rest: tuple[str, ...] = ctx.meta[_REST]
    return rest
