"""What the store holds: slots, bundles and their certificates; never a private key."""

from __future__ import annotations

from functools import partial

from cryptography.hazmat.primitives.serialization import Encoding
from starlette.responses import JSONResponse, Response

from certstore import Generation, NotFound, Source
from tlsproxy.control.documents import (
    BundlesDocument,
    GenerationDocument,
    GenerationsDocument,
    SlotDocument,
    SlotsDocument,
    WholeBundleDocument,
    bundle_to_json,
    generation_to_json,
    meta_to_json,
    slot_to_json,
    summary_to_json,
)
from tlsproxy.control.operations import Answer, Ask, Operation, count, number_in_path, text_in_path
from tlsproxy.threads import in_thread

__all__ = ["GENERATION", "OPERATIONS", "SLOT", "slot_key"]

# RFC 8555 section 9.1: PEM certificates, one after the other
_PEM = "application/pem-certificate-chain"


def slot_key(ask: Ask) -> tuple[Source, str]:
    """Give the slot that a path names, as the store knows it."""
    return Source(ask.path["source"]), ask.path["slot"]


async def _slots(ask: Ask) -> Response:
    return JSONResponse({"slots": [slot_to_json(slot) for slot in ask.backing.store.slots()]})


async def _slot(ask: Ask) -> Response:
    key = slot_key(ask)
    for slot in ask.backing.store.slots():
        if slot.key == key:
            return JSONResponse(slot_to_json(slot))
    raise NotFound("slot", "/".join(key))


async def _generations(ask: Ask) -> Response:
    store = ask.backing.store
    found = await in_thread(partial(store.generations, ask.query["limit"]))
    shown = [summary_to_json(generation, _number_of(store.active)) for generation in found]
    return JSONResponse({"generations": shown})


async def _generation(ask: Ask) -> Response:
    store = ask.backing.store
    found = await in_thread(partial(store.generation, ask.path["generation"]))
    return JSONResponse(generation_to_json(found, _number_of(store.active)))


def _number_of(generation: Generation | None) -> int | None:
    return generation.number if generation is not None else None


async def _bundles(ask: Ask) -> Response:
    return JSONResponse({"bundles": await in_thread(partial(_all_bundles, ask))})


def _all_bundles(ask: Ask) -> list[dict[str, object]]:
    store = ask.backing.store
    active = store.active
    ids = set(active.bundles()) if active is not None else set()
    ids |= {id_ for slot in store.slots() for id_ in slot.ways}
    shown = []
    for id_ in sorted(ids):
        try:
            shown.append(meta_to_json(store.meta(id_)))
        except NotFound:
            continue  # pruned since, or lost: the slot that names it tells
    return shown


async def _bundle(ask: Ask) -> Response:
    store, id_ = ask.backing.store, ask.path["bundle"]
    bundle = await in_thread(partial(store.bundle, id_))
    named = [slot for slot in store.slots() if id_ in slot.ways]
    return JSONResponse(bundle_to_json(bundle, named))


async def _certificate(ask: Ask) -> Response:
    bundle = await in_thread(partial(ask.backing.store.bundle, ask.path["bundle"]))
    return Response(bundle.leaf.public_bytes(Encoding.PEM), media_type=_PEM)


async def _chain(ask: Ask) -> Response:
    bundle = await in_thread(partial(ask.backing.store.bundle, ask.path["bundle"]))
    return Response(bundle.chain_pem(), media_type=_PEM)


SLOT = (
    text_in_path("source", "Whose slot it is.", "|".join(Source)),
    text_in_path("slot", "The slot's id.", "[0-9a-f]{32}"),
)
GENERATION = (number_in_path("generation", "The generation's number."),)
_BUNDLE = (text_in_path("bundle", "The bundle's id.", "[0-9a-f]{64}"),)

OPERATIONS = (
    Operation(
        "GET",
        "/v1/generations",
        "listGenerations",
        "List what was served before, as far as it is kept.",
        _generations,
        (Answer("The generations, newest first.", GenerationsDocument),),
        (count("limit", "At most so many.", least=1, most=100, default=25),),
    ),
    Operation(
        "GET",
        "/v1/generations/{generation}",
        "getGeneration",
        "Show one generation: which bundle for which name, and the slots as they were.",
        _generation,
        (Answer("The generation.", GenerationDocument),),
        GENERATION,
    ),
    Operation(
        "GET",
        "/v1/slots",
        "listSlots",
        "List what each source has, for which names.",
        _slots,
        (Answer("The slots, the highest source first.", SlotsDocument),),
    ),
    Operation(
        "GET",
        "/v1/slots/{source}/{slot}",
        "getSlot",
        "Show one slot.",
        _slot,
        (Answer("The slot.", SlotDocument),),
        SLOT,
    ),
    Operation(
        "GET",
        "/v1/bundles",
        "listBundles",
        "List the certificates that a slot names or that are served.",
        _bundles,
        (Answer("The bundles.", BundlesDocument),),
    ),
    Operation(
        "GET",
        "/v1/bundles/{bundle}",
        "getBundle",
        "Show one bundle: its certificates, and the slots that name it.",
        _bundle,
        (Answer("The bundle.", WholeBundleDocument),),
        _BUNDLE,
    ),
    Operation(
        "GET",
        "/v1/bundles/{bundle}/certificate.pem",
        "downloadCertificate",
        "Download the device's own certificate.",
        _certificate,
        (Answer("One certificate in PEM.", media=_PEM),),
        _BUNDLE,
    ),
    Operation(
        "GET",
        "/v1/bundles/{bundle}/chain.pem",
        "downloadChain",
        "Download the certificate with its chain, as clients get it.",
        _chain,
        (Answer("The certificates in PEM, the device's own first.", media=_PEM),),
        _BUNDLE,
    ),
)
