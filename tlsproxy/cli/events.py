"""`tlsproxy events`: follow what a running proxy does, as it happens."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from tlsproxy.cli.endings import printable
from tlsproxy.cli.examples import examples
from tlsproxy.cli.places import find_proxy, place_options, somewhere_else
from tlsproxy.errors import NotRunningError


@click.command(
    short_help="Follow what the proxy does, as it happens.",
    epilog=examples(
        "tlsproxy events",
        "tlsproxy events --store ./store --json",
        "tlsproxy events --after 0          # begin with what is still kept",
    ),
)
@place_options
@click.option(
    "--after",
    type=click.IntRange(0),
    metavar="N",
    help="Tell first what came after event N [default: only new].",
)
@click.option("--stream", metavar="NAME", help="Of which stream event N was; a restart begins another one.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, as the API gives it.")
def events(
    store: Path | None,
    config: Path | None,
    after: int | None,
    stream: str | None,
    as_json: bool,  # noqa: FBT001  click passes flags so
) -> None:
    """Follow receipts, findings, expiry, generations, workers and reloads, until Ctrl-C.

    Each event is told once, in order, also over a reload of the proxy: the connection is made again. What
    can't be had any more is told as `lost`. Ends with 1 when no proxy has answered for a minute.
    """
    import trio

    from tlsproxy.control.follower import Follower

    def tell(message: dict[str, object]) -> None:
        click.echo(json.dumps(message) if as_json else printable(line_of(message)))

    follower = Follower(find_proxy(store, config).control, tell, after=after, stream=stream)

    def follow() -> None:
        try:
            trio.run(follower.run)
        except NotRunningError as error:
            raise somewhere_else(error) from None

    try:
        follow()
    except* BrokenPipeError:
        pass  # whoever read this has had enough


def line_of(message: Mapping[str, object]) -> str:
    """Write an event in one line for a person."""
    if message["kind"] == "lost":
        count = message["count"]
        return f"-- {'some' if count is None else count} events can't be had any more --"
    head = f"{str(message['at'])[:19].replace('T', ' ')}  {message['number']:>5}  {message['kind']:<10}"
    return f"{head}  {_words(message)}"


def _words(message: Mapping[str, object]) -> str:
    facts = {name: value for name, value in message.items() if name not in _HEAD}
    tell = _WORDS.get(str(message["kind"]))
    return json.dumps(facts) if tell is None else tell(facts)  # a newer proxy may tell of more


def _receipt(facts: Mapping[str, object]) -> str:
    from tlsproxy.observe.rendering import receipt_line

    codes = receipt_line(facts).partition("  (")[2]
    told = f"{facts['id']}  {facts['state']}  {facts['source']} via {facts['via']}"
    return f"{told}  ({codes}" if codes else told


def _finding(facts: Mapping[str, object]) -> str:
    return f"{facts['severity']}: {facts['words']} [{facts['code']}]"


def _expiry(facts: Mapping[str, object]) -> str:
    return f"{facts['step']} ({facts['role']}): {facts['words']} [{facts['code']}]"


def _rung(facts: Mapping[str, object]) -> str:
    return f"{facts['rung']}: {facts['words']}"


def _generation(facts: Mapping[str, object]) -> str:
    return f"{facts['generation'] or 'in memory'} ({facts['cause']})"


def _acme(facts: Mapping[str, object]) -> str:
    from tlsproxy.cli.acmefollowing import step_words

    match facts["state"]:
        case "step":
            return step_words(facts)
        case "failed":
            return f"failed: {facts['words']} [{facts['code']}]"
        case "issued":
            which = f"{facts['key_type']} " if facts.get("key_type") is not None else ""
            return f"{which}issued by {facts['authority']}, valid until {str(facts['not_after'])[:10]}"
        case state:
            return str(state)


def _worker(facts: Mapping[str, object]) -> str:
    ended = f" with exit code {facts['exit_code']}" if "exit_code" in facts else ""
    return f"{facts['pid']} (seat {facts['seat']}) {facts['state']}{ended}"


def _reload(facts: Mapping[str, object]) -> str:
    return f"refused: {facts['why']}" if facts["state"] == "refused" else f"done: epoch {facts['epoch']}"


_HEAD = frozenset({"stream", "number", "at", "kind"})
_WORDS: Mapping[str, Callable[[Mapping[str, object]], str]] = {
    "receipt": _receipt,
    "finding": _finding,
    "expiry": _expiry,
    "rung": _rung,
    "generation": _generation,
    "acme": _acme,
    "worker": _worker,
    "reload": _reload,
}
