"""`tlsproxy label`: the sticker, as SVG, PNG or text."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlsproxy import policy_factory
from tlsproxy.cli.examples import examples
from tlsproxy.cli.places import find_place, place_options
from tlsproxy.errors import UsageError

if TYPE_CHECKING:
    from certstore.label import Label
    from tlsproxy.cli.views import View

__all__ = ["label"]


class _Url(click.ParamType[str]):
    """Something that fits into a code which a telephone still reads on a small label."""

    name = "url"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value.isascii() or not value.isprintable() or len(value) > policy_factory.LABEL_URL_MOST:
            most = policy_factory.LABEL_URL_MOST
            self.fail(f"{value[:40]!r} is no URL of at most {most} characters of ASCII", param, ctx)
        return value


@click.command(
    short_help="Print the sticker: who the device is, and its fingerprints.",
    epilog=examples(
        "tlsproxy label",
        "tlsproxy label --svg --out label.svg",
        "tlsproxy label --png --dpi 203 | lp -d label-printer",
        "tlsproxy label --json",
    ),
)
@click.option("--svg", "form", flag_value="svg", help="As SVG, in its true size.")
@click.option("--png", "form", flag_value="png", help="As PNG, in a printer's dots.")
@click.option("--txt", "form", flag_value="txt", default="txt", help="As text of 40 columns [default].")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="The file to write [default: stdout]."
)
@click.option(
    "--dpi",
    type=click.IntRange(100, 2400),
    default=300,
    show_default=True,
    help="Dots to an inch that the printer has, for --png.",
)
@click.option("--url", type=_Url(), help="What the QR code opens [default: https://NAME/].")
@place_options
@click.option("--json", "as_json", is_flag=True, help="What is printed, in JSON, for a program of your own.")
def label(  # noqa: PLR0913, PLR0917  click's way of passing options
    form: str,
    out: Path | None,
    dpi: int,
    url: str | None,
    store: Path | None,
    config: Path | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Print the sticker for this device: name, serial number, fingerprints in groups, and a QR code.

    It tells of the identity that the device keeps: its factory's where it has one, else its own. The key's
    SHA-256 is what Chrome and Edge show as "Public Key" and `tlsproxy status` as the key; it stays when the
    certificate is issued anew. The certificate's SHA-256 is printed where it is sealed for life.
    """
    from certstore.label import lay_out, to_svg, to_text
    from tlsproxy.cli.views import view_of

    with view_of(find_place(store, config)) as view:
        made = _label(view, url)
    if as_json:
        content = f"{json.dumps(made.to_json(), indent=2)}\n".encode()
    elif form == "png":
        from certstore.raster import draw, to_png

        content = to_png(draw(lay_out(made), dpi), dpi)
    else:
        content = (to_svg(lay_out(made)) if form == "svg" else to_text(made)).encode()
    if out is not None:
        out.write_bytes(content)
    elif form == "png" and not as_json and sys.stdout.isatty():
        raise UsageError("a picture is nothing for a terminal", "name a file: --out label.png")
    else:
        sys.stdout.buffer.write(content)


def _label(view: View, url: str | None) -> Label:
    """Choose the identity that the device keeps. Raises UsageError where it has none yet."""
    from certstore import Source
    from certstore.label import Label
    from certstore.provisioning import factory_slot

    slots = view.slots()
    own = [slot for slot in slots if slot.source is Source.GENERATED]
    slot = factory_slot(slots) or max(own, key=lambda slot: slot.newness, default=None)
    if slot is None:
        raise UsageError(
            "this device has no identity yet", "give it one: tlsproxy factory provision, or start the proxy"
        )
    return Label.of(view.certificates(slot.bundle)[0], sealed=slot.sealed, url=url)
