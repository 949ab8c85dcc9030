"""How every command ends: an exit code, and where something went wrong one error line and one hint line.

The only place that turns errors into words on a terminal. An error that nobody foresaw is a bug of ours; it
still gets its one line, and the traceback only for who asks for it (TLSPROXY_TRACEBACK=1).
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator

import click

from tlsproxy.errors import ConfigError, ExitCode, ProxyError

_TRACEBACK = "TLSPROXY_TRACEBACK"


def ended(command: Callable[[], object]) -> int:
    """Run a command and say how it ended; never raises, but for a SystemExit on the way."""
    try:
        result = command()
    except click.ClickException as error:
        return _misused(error)
    except (click.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except BaseExceptionGroup as group:
        return _told(_first(group))
    except Exception as error:  # noqa: BLE001  the border of the whole program
        return _told(error)
    return result if isinstance(result, int) else ExitCode.DONE


def complain(why: str, hint: str = "") -> None:
    """Write an error line, and a hint line where there is a hint, to stderr."""
    click.echo(f"tlsproxy: error: {_one_line(why)}", err=True)
    if hint:
        click.echo(f"tlsproxy: hint: {_one_line(hint)}", err=True)


def _misused(error: click.ClickException) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return ExitCode.MISUSE
    context = getattr(error, "ctx", None)
    words = error.format_message().rstrip(".")
    complain(
        words[:1].lower() + words[1:], f"{context.command_path} --help" if context else "tlsproxy --help"
    )
    return ExitCode.MISUSE if error.exit_code == ExitCode.MISUSE else ExitCode.FAILED


def _told(error: BaseException) -> int:
    from certstore import Refusal, StoreError

    if os.environ.get(_TRACEBACK):
        traceback.print_exception(error)
    match error:
        case KeyboardInterrupt():
            return ExitCode.INTERRUPTED
        case SystemExit():
            return error.code if isinstance(error.code, int) else ExitCode.FAILED
        case ConfigError():
            complain(str(error), _how_to_mend(error))
            return error.exit_code
        case ProxyError():
            complain(str(error), error.hint)
            return error.exit_code
        case StoreError():
            complain(str(error), error.hint)
        case Refusal():
            complain(str(error), error.findings[0].hint)
        case OSError():
            complain(_of_system(error))
        case _:
            complain(
                f"{type(error).__name__}: {error}",
                f"this is a bug: please report it; {_TRACEBACK}=1 shows where",
            )
    return ExitCode.FAILED


def _how_to_mend(error: ConfigError) -> str:
    is_file = error.origin.endswith(".toml")
    if is_file and len(error.mistakes) > 1:
        return f"tlsproxy check --config {error.origin} says all of them"
    if error.hint or not is_file:
        return error.hint or "tlsproxy run --help"
    return f"mend the file, and see by tlsproxy check --config {error.origin} that it is good"


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Choose what to tell of several: an interrupt first, then what was raised on purpose, then bugs."""
    from certstore import Refusal, StoreError

    errors = list(_leaves(group))
    for kinds in ((KeyboardInterrupt, SystemExit), (ProxyError, StoreError, Refusal)):
        for error in errors:
            if isinstance(error, kinds):
                return error
    return errors[0]


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _of_system(error: OSError) -> str:
    why = (error.strerror or str(error)).lower()
    return f"{error.filename}: {why}" if error.filename else why


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    """Give a stranger's text, such as a certificate's subject, without what would steer a terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def is_plain() -> bool:
    """Say whether output goes to a pipe or file, where colours and boxes don't belong."""
    return not sys.stdout.isatty() or "NO_COLOR" in os.environ
