"""Trust sets as OpenSSL holds them, one for all contexts of the `bundled` engine that verify by the same set.

Promises: a set is parsed once, and goes with the last context that was made with it. Refuses to know what is
in a set, and what contexts are for.

Theory. A revocation list takes nearly six times its size in OpenSSL's memory (110 MB for 570,000 entries in
20 MB of DER, measured), and it would take that again for each certificate whose clients are asked. A store is
locked by OpenSSL itself and counts who holds it, so contexts can share one. pyOpenSSL has no method for it;
where its private `_lib` lacks the two functions, each context has its own.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from OpenSSL import SSL
from OpenSSL.crypto import X509, X509Store, X509StoreFlags

if TYPE_CHECKING:
    from certstore import TrustSet

__all__ = ["SharedStore", "verify_by"]

_lib: Any = SSL._lib  # type: ignore[attr-defined]  # noqa: SLF001  see the theory
_CAN_SHARE: Final = all(hasattr(_lib, name) for name in ("SSL_CTX_set_cert_store", "X509_STORE_up_ref"))


class SharedStore:
    """What verifies by one set. Whoever uses it keeps it."""

    __slots__ = ("__weakref__", "store")

    def __init__(self, held: TrustSet) -> None:
        self.store = X509Store()
        fill(self.store, held)


_stores: WeakValueDictionary[str, SharedStore] = WeakValueDictionary()
_making = threading.Lock()


def verify_by(context: SSL.Context, held: TrustSet) -> SharedStore | None:
    """Have a context verify by a set; gives what it must keep. Raises SSL.Error."""
    if not _CAN_SHARE:
        store = context.get_cert_store()
        assert store is not None, "a context has a store"
        fill(store, held)
        return None
    id_ = held.id
    with _making:
        shared = _stores.get(id_)
        if shared is None:
            shared = _stores[id_] = SharedStore(held)
    _lib.X509_STORE_up_ref(shared.store._store)  # noqa: SLF001  the context takes this one
    _lib.SSL_CTX_set_cert_store(context._context, shared.store._store)  # noqa: SLF001
    return shared


def fill(store: X509Store, held: TrustSet) -> None:
    """Have a store verify by a set: every authority is an anchor, and lists count where there are any."""
    store.set_flags(X509StoreFlags.PARTIAL_CHAIN | (X509StoreFlags.CRL_CHECK if held.crls else 0))
    for anchor in held.anchors:
        store.add_cert(X509.from_cryptography(anchor))
    for crl in held.crls:
        store.add_crl(crl)
